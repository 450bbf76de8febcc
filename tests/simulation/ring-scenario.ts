/** Lives of rings: growth, faults, quiet. */
import type { StartMode } from "../../src/ring/ports.js";
import type { Address } from "../../src/shared/ids.js";
import { flawOf, mayCrash } from "./ring-ideal.js";
import { RingWorld, type SimulatedMember, type WorldOptions } from "./ring-world.js";

interface LifeOptions {
  readonly members: number;
  /** Mean time between joins while the ring grows. */
  readonly growMs: number;
  readonly faults: number;
  /** Mean time between faults. */
  readonly faultMs: number;
  /** Simulated time in which a ring left alone must become ideal. */
  readonly quietMs: number;
}

interface LifeReport {
  readonly crashes: number;
  readonly restarts: number;
  readonly changes: number;
  readonly calls: number;
  /** Quiet time until the ring was ideal. */
  readonly idealAfterMs: number;
  readonly traceHash: string;
}

/**
 * A ring that grows and is then struck within Zave's operating assumption. Throws at the first
 * state that breaks the invariant, and when it is not ideal in the end.
 */
export async function liveThroughCrashes(
  options: WorldOptions,
  life: LifeOptions,
): Promise<LifeReport> {
  const world = new RingWorld(options);
  await grow(world, life);
  let [crashes, restarts] = [0, 0];
  for (let i = 0; i < life.faults; i++) {
    await world.run(life.faultMs * 2 * world.random());
    const down = world.pick(world.down());
    const dice = world.random();
    if (dice < 0.5) {
      const victim = world.pick(world.live());
      if (victim === undefined || !mayCrash(world, victim)) continue;
      world.crash(victim);
      crashes += 1;
    } else if (down !== undefined) {
      world.restart(down, { kind: "join", entries: entriesFor(world) });
      restarts += 1;
    } else if (dice < 0.6) world.add({ kind: "join", entries: entriesFor(world) });
  }
  return { crashes, restarts, ...(await settle(world, life.quietMs)) };
}

/**
 * Kills, restarts and cut cables without regard for what the ring can bear.
 * @returns undefined when the survivors have no way to know of each other.
 */
export async function liveThroughAnything(
  options: WorldOptions,
  life: LifeOptions,
): Promise<LifeReport | undefined> {
  const world = new RingWorld({ ...options, checkInvariant: false });
  await grow(world, life);
  let [crashes, restarts] = [0, 0];
  for (let i = 0; i < life.faults; i++) {
    await world.run(life.faultMs * 2 * world.random());
    const dice = world.random();
    const down = world.pick(world.down());
    if (dice < 0.4) {
      const victim = world.pick(world.members.filter((member) => member.life.up));
      if (victim === undefined) continue;
      world.crash(victim);
      crashes += 1;
    } else if (dice < 0.8) {
      if (down === undefined) continue;
      world.restart(down, modeAfterRestart(world, down));
      restarts += 1;
    } else if (dice < 0.9) partition(world);
    else world.network.isConnected = () => true;
  }
  world.network.isConnected = () => true;
  // In half of the runs the dead stay dead, so that no help comes from them.
  if (world.random() < 0.5 || world.live().length === 0) {
    for (const member of world.down()) world.restart(member, modeAfterRestart(world, member));
  }
  if (!haveHeardOfEachOther(world)) return undefined;
  return { crashes, restarts, ...(await settle(world, life.quietMs)) };
}

/**
 * Whether each live node can be reached from each other over who knows whom. Two that both joined
 * through a third, which dies for good before it could tell them of each other, cannot.
 */
function haveHeardOfEachOther(world: RingWorld): boolean {
  const up = world.members.filter((member) => member.life.up);
  const reached = new Set(up.slice(0, 1));
  for (const one of reached) {
    for (const other of up) {
      const isKnown = [
        [one, other],
        [other, one],
      ].some(([a, b]) => a?.cache.some((entry) => entry.uuid === b?.ref.uuid));
      if (isKnown) reached.add(other);
    }
  }
  return reached.size === up.length;
}

/** The first node of the ring starts it anew when it has never heard of another. */
function modeAfterRestart(world: RingWorld, member: SimulatedMember): StartMode {
  if (member.cache.length > 0 || member === world.members[0]) return { kind: "resume" };
  return { kind: "join", entries: firstEntry(world) };
}

function partition(world: RingWorld): void {
  const side = new Map(world.members.map((member) => [member.ref.addr, world.random() < 0.5]));
  world.network.isConnected = (a, b) => side.get(a) === side.get(b);
}

async function grow(world: RingWorld, life: LifeOptions): Promise<void> {
  const { checkInvariant, listLength } = world.options;
  world.add({ kind: "first" });
  while (world.members.length < life.members) {
    await world.run(life.growMs * 2 * world.random());
    world.add({ kind: "join", entries: entriesFor(world) });
    if (checkInvariant !== false && world.members.length === listLength + 1) await base(world);
  }
}

/** The base of L + 1 principals must be there before anything may fail. */
async function base(world: RingWorld): Promise<void> {
  for (let i = 0; i < 300 && !world.invariant.established; i++) await world.run(100);
  if (!world.invariant.established) throw new Error(`seed ${world.options.seed}: no base`);
}

function entriesFor(world: RingWorld): readonly Address[] {
  const entry = world.pick(world.live());
  return entry === undefined ? firstEntry(world) : [entry.ref.addr];
}

function firstEntry(world: RingWorld): readonly Address[] {
  return world.members.slice(0, 1).map((member) => member.ref.addr);
}

async function settle(
  world: RingWorld,
  quietMs: number,
): Promise<Omit<LifeReport, "crashes" | "restarts">> {
  const startMs = world.clock.nowMs;
  let flaw: string | undefined = "never looked";
  while (flaw !== undefined) {
    const elapsedMs = world.clock.nowMs - startMs;
    if (elapsedMs > quietMs) {
      throw new Error(`seed ${world.options.seed}: not ideal after ${quietMs} ms: ${flaw}`);
    }
    await world.run(250);
    flaw = flawOf(world);
  }
  const idealAfterMs = world.clock.nowMs - startMs;
  // Ideal once, ideal for ever: nothing moves in a quiet ring.
  await world.run(5_000);
  const later = flawOf(world);
  if (later !== undefined) throw new Error(`seed ${world.options.seed}: no longer ideal: ${later}`);
  const { changes } = world;
  return { changes, calls: world.network.calls, idealAfterMs, traceHash: world.traceHash() };
}

/** Conditions under which a member that serves a state about to change does harm. */
export const overlapping = {
  options: (seed: number) => ({
    ...{ seed, bits: 6, replicas: 2, listLength: 3 },
    latencyMaxMs: 100,
    ring: { stabilizeIntervalMs: 100 },
  }),
  life: (seed: number) => ({
    ...{ members: 5 + (seed % 8), growMs: 300, faults: 150, faultMs: 60 },
    quietMs: 30_000,
  }),
};
