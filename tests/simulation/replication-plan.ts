/** What is to happen in a run: drawn from a seed as a list, so that single things can be left out. */
import { type Dice, diceFor } from "./replication-clock.js";

/** What can befall a ring. */
export const events = {
  crash: "a process ends or its machine loses power; back after a moment",
  crashAll: "all members crash, back after a moment each",
  freeze: "a process does nothing for a while and then everything at once",
  slow: "a process is short of CPU, its disk slow",
  skew: "a member's wall clock jumps",
  cut: "the cable between two members, in one direction",
  part: "one member is cut off from all the others",
  split: "the ring falls into two sides",
  clog: "messages between two members wait, then come all at once",
  flaky: "messages get lost and late",
  double: "messages arrive twice",
  overtake: "messages overtake one another",
  full: "a disk refuses writes for a while",
  failSync: "a sync fails: the process ends and is started again",
  flip: "a bit of a stored body flips; always on the same member",
  join: "a new member",
  joinKill: "a joiner is killed in mid-copy, and comes back or not",
  leave: "a member leaves in good order",
  away: "a member is down for longer than the others wait",
  wipe: "a disk is lost; its member comes up again without",
} as const;
export type EventKind = keyof typeof events;
export const allEvents = Object.keys(events) as EventKind[];

export type ActKind = "mail" | "twins" | "read" | "account";

export interface PlanItem {
  /** Names it in `--keep`; does not change when others are left out. */
  readonly number: number;
  readonly atMs: number;
  readonly kind: EventKind | ActKind;
}

export interface Plan {
  readonly seed: number;
  readonly members: number;
  readonly mailboxes: number;
  readonly disks: "memory" | "journal";
  readonly kinds: readonly EventKind[];
  /** The longest that a disk takes. */
  readonly flushMaxMs: number;
  readonly repairIntervalMs: number;
  /** The longest that a session lasts; absent: most are short. */
  readonly sessionMs?: number;
  /** In order of time. */
  readonly items: readonly PlanItem[];
}

export interface PlanOptions {
  readonly seed: number;
  /** What befalls the ring, one of them every few seconds. Drawn when absent. */
  readonly events?: readonly EventKind[];
  readonly members?: number;
  readonly busyMs?: number;
  /** How many clients of each kind there are on average. */
  readonly clients?: {
    readonly senders: number;
    readonly readers: number;
    readonly operators: number;
  };
  readonly mailboxes?: number;
  readonly sessionMs?: number;
  readonly disks?: "memory" | "journal";
  readonly flushMaxMs?: number;
  /** Seldom repair leaves everything to the quorums and transfers. */
  readonly repairIntervalMs?: number;
}

/** Time after which a silent member is evicted. */
export const evictAfterMs = 8_000;

export function drawPlan(options: PlanOptions): Plan {
  const { seed, events: asked, sessionMs } = options;
  // Drawn apart from the run, so that every seed has few kinds of events and many of them; all of it
  // in any case, so that an option changes nothing else.
  const dice = diceFor(seed, "plan");
  const ofMembers = drawMembers(dice);
  const ofEvents = allEvents.filter(() => dice.chance(0.25));
  const isSlowDisk = dice.chance(0.3);
  const isSeldomRepaired = dice.chance(0.3);
  const ofClients = drawClients(dice);
  const members = options.members ?? ofMembers;
  const kinds = asked ?? ofEvents.filter((kind) => isPossible(kind, members));
  const plan = {
    ...{ seed, members, kinds },
    mailboxes: options.mailboxes ?? 6,
    disks: options.disks ?? (seed % journalEvery === 0 ? "journal" : "memory"),
    flushMaxMs: options.flushMaxMs ?? (isSlowDisk ? 400 : 15),
    repairIntervalMs: options.repairIntervalMs ?? (isSeldomRepaired ? 20_000 : 3_000),
    ...(sessionMs !== undefined && { sessionMs }),
  } as const;
  const { senders, readers, operators } = options.clients ?? ofClients;
  const busyMs = options.busyMs ?? 25_000;
  const isCalm = kinds.every((kind) => calm.includes(kind));
  const draw = (name: string, everyMs: number, of: readonly PlanItem["kind"][]) =>
    drawItems(diceFor(seed, `plan ${name}`), busyMs, everyMs, of);
  const times = [
    ...draw("events", 1_650, kinds),
    ...draw("mails", 1_200 / senders, isCalm ? ["mail", "mail", "twins"] : ["mail"]),
    ...draw("sessions", 2_500 / readers, ["read"]),
    ...draw("accounts", 2_000 / operators, ["account"]),
  ].sort((a, b) => a.atMs - b.atMs);
  return { ...plan, items: times.map((item, number) => ({ ...item, number })) };
}

/** One seed in so many has its members on the real store over simulated files. */
const journalEvery = 4;

/** Kinds that leave no acknowledgement in doubt: two honest identical mails stay two. */
const calm: readonly EventKind[] = ["join", "double", "overtake", "slow", "full"];

function drawMembers(dice: Dice): number {
  const share = dice.next();
  if (share < 0.05) return 1;
  if (share < 0.15) return 2;
  return 3 + dice.integer(3);
}

function drawClients(dice: Dice): NonNullable<PlanOptions["clients"]> {
  return dice.chance(0.15)
    ? { senders: 1, readers: 1, operators: 8 }
    : { senders: 3, readers: 3, operators: 2 };
}

/** A ring of one or two promises less (see ARCHITECTURE.md); no disk may be lost there. */
export function isPossible(kind: EventKind, members: number): boolean {
  if (members > 2) return true;
  const many: readonly EventKind[] = ["wipe", "flip", "join", "joinKill", "leave"];
  return !many.includes(kind);
}

/** One of `kinds` every `everyMs` on average. */
function drawItems(
  dice: Dice,
  busyMs: number,
  everyMs: number,
  kinds: readonly PlanItem["kind"][],
): { atMs: number; kind: PlanItem["kind"] }[] {
  const drawn: { atMs: number; kind: PlanItem["kind"] }[] = [];
  let atMs = 0;
  for (;;) {
    atMs += dice.between(0.2, 1.8) * everyMs;
    const kind = dice.pick(kinds);
    if (!(atMs < busyMs) || kind === undefined) return drawn;
    drawn.push({ atMs: Math.round(atMs), kind });
  }
}
