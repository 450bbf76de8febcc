/** The clock and the dice that the link runs with outside of simulations. */
import { randomBytes } from "node:crypto";
import type { Dice, LinkClock } from "../link/ports.js";

export const linkClock: LinkClock = {
  nowMs: () => Date.now(),
  after(ms, run) {
    // Longer than timers go (2^31 - 1 ms): it is then asked again.
    const timer = setTimeout(run, Math.min(ms, 2_147_483_647));
    return () => clearTimeout(timer);
  },
};

const poolOctets = 4_096;
let pool = randomBytes(poolOctets);
let used = 0;

/** A call of the system for many ids at a time; no octet is given twice. */
export const linkDice: Dice = (octets) => {
  if (octets > poolOctets / 16) return randomBytes(octets);
  if (used + octets > poolOctets) {
    pool = randomBytes(poolOctets);
    used = 0;
  }
  used += octets;
  return pool.subarray(used - octets, used);
};
