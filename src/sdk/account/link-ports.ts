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

export const linkDice: Dice = (octets) => randomBytes(octets);
