/** What the drill does to its ring. Each fault begins, is held for a while, and ends. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Dice } from "./dice.js";
import type { DrillMember } from "./member.js";
import type { CutHow, Link, Network } from "./network.js";
import type { DrillRing } from "./ring.js";

/** In the order of the report. */
export const faultKinds = [
  "kill",
  "kill-all",
  "restart",
  "freeze",
  "isolate",
  "one-way",
  "split",
  "join",
  "leave",
  "evict",
  "wipe",
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** For people; each fits a column of the report. */
export const faultTexts: Readonly<Record<FaultKind, string>> = {
  kill: "SIGKILL of one member",
  "kill-all": "SIGKILL of all members",
  restart: "SIGTERM, then started again",
  freeze: "SIGSTOP, later SIGCONT",
  isolate: "one member cut off",
  "one-way": "one member cut off, one way",
  split: "ring split in two",
  join: "a member joins",
  leave: "a member leaves",
  evict: "killed, evicted, comes back",
  wipe: "disk lost, comes back empty",
};

export interface Fault {
  readonly kind: FaultKind;
  /** For the progress line: `SIGKILL of member 2`. */
  readonly what: string;
  readonly victims: readonly DrillMember[];
  /** Nobody is left: clients can only be served after `end` has begun. */
  readonly hitsAll?: true;
  /** A client has a POP3 session open at the victim, whose lock has to run out. */
  readonly holdsSession: boolean;
  readonly holdMs: number;
  /** Where clients of the victims turn to, at this moment. */
  elsewhere(): readonly DrillMember[];
  /** Resolves when the fault is there; for members that come or go, when that is done. */
  begin(): Promise<void>;
  /** The cause is taken away: processes started, the network whole. */
  end(): Promise<void>;
}

export interface FaultTools {
  readonly ring: DrillRing;
  readonly network: Network;
  readonly dice: Dice;
  /** Members of the ring at its start; it grows by two at the most. */
  readonly members: number;
  readonly replicas: number;
}

const extraMembersMax = 2;

/** Kinds that the ring, as it is now, can be asked to survive by what is promised. */
export function possibleKinds({ ring, members, replicas }: FaultTools): FaultKind[] {
  const count = ring.present.length;
  // A ring of two goes on with one copy; the drill keeps away from that, and from fewer than r + 1.
  const isSpare = count > Math.max(3, replicas + 1);
  return faultKinds.filter((kind) => {
    if (kind === "join") return count < members + extraMembersMax;
    if (kind === "leave" || kind === "evict") return isSpare;
    return true;
  });
}

/** Kinds that may happen while another fault is there. */
export const nestedKinds: readonly FaultKind[] = ["kill", "kill-all", "restart", "freeze"];

/** During these a disk may be lost. A change of members would wait for the one that lost it. */
export const wipeableKinds: readonly FaultKind[] = [
  "kill",
  "restart",
  "freeze",
  "isolate",
  "one-way",
  "split",
];

/** Undefined when nobody is left to be a victim. One of `preferred` is taken every other time. */
export function planFault(
  kind: FaultKind,
  tools: FaultTools,
  spared: readonly DrillMember[] = [],
  preferred: readonly DrillMember[] = [],
): Fault | undefined {
  const { ring, dice } = tools;
  const candidates = ring.up.filter((member) => !spared.includes(member));
  if (candidates.length === 0) return undefined;
  const liked = candidates.filter((member) => preferred.includes(member));
  const victim = dice.pick(liked.length > 0 && dice.chance(0.5) ? liked : candidates);
  const others = (): readonly DrillMember[] => ring.up.filter((member) => member !== victim);
  const common = { kind, victims: [victim], elsewhere: others, holdMs: dice.whole(100, 1_500) };
  const { id } = victim;
  const startAgain = (): Promise<void> => victim.start(ring.entriesFor(victim));
  switch (kind) {
    case "kill":
      return {
        ...common,
        what: `SIGKILL of member ${id}`,
        holdsSession: true,
        begin: () => victim.end("SIGKILL"),
        end: startAgain,
      };
    case "restart":
      return {
        ...common,
        what: `SIGTERM of member ${id}`,
        holdsSession: false,
        begin: () => victim.end("SIGTERM"),
        end: startAgain,
      };
    case "freeze":
      return {
        ...common,
        what: `SIGSTOP of member ${id}`,
        holdsSession: true,
        holdMs: dice.whole(300, 4_000),
        begin: async () => victim.freeze(),
        end: async () => victim.thaw(),
      };
    case "kill-all":
      return killAll(tools, candidates);
    case "isolate":
    case "one-way":
    case "split":
      return partition(kind, tools, { victim, victims: [victim] });
    case "join":
      return join(tools);
    case "leave":
      return {
        ...common,
        what: `member ${id} leaves`,
        holdsSession: false,
        holdMs: 0,
        begin: () => ring.leave(victim),
        end: async () => undefined,
      };
    case "evict":
      return {
        ...common,
        what: `SIGKILL and eviction of member ${id}`,
        holdsSession: false,
        begin: async () => {
          await victim.end("SIGKILL");
          await ring.evict(victim);
        },
        end: startAgain,
      };
    case "wipe":
      return {
        ...common,
        what: `the disk of member ${id} is lost`,
        holdsSession: true,
        begin: async () => {
          await victim.end("SIGKILL");
          await victim.wipe();
        },
        end: startAgain,
      };
  }
}

function killAll({ ring, dice }: FaultTools, victims: readonly DrillMember[]): Fault {
  return {
    kind: "kill-all",
    what: `SIGKILL of all ${victims.length} members that run`,
    victims,
    holdsSession: false,
    hitsAll: true,
    holdMs: dice.whole(0, 300),
    elsewhere: () => ring.up,
    begin: async () => {
      await Promise.all(victims.map((member) => member.end("SIGKILL")));
    },
    end: async () => {
      const gapMaxMs = dice.chance(0.5) ? 400 : 0;
      const starts = dice.shuffled(victims).map(async (member) => {
        await sleep(dice.whole(0, gapMaxMs));
        await member.start(ring.entriesFor(member));
      });
      await Promise.all(starts);
    },
  };
}

interface PartitionOptions {
  readonly victim: DrillMember;
  readonly victims: readonly DrillMember[];
}

function partition(
  kind: "isolate" | "one-way" | "split",
  { ring, network, dice }: FaultTools,
  { victim, victims }: PartitionOptions,
): Fault {
  const how: CutHow = dice.chance(0.5) ? "refuse" : "swallow";
  // Silence is noticed after two seconds: some end before that, some after.
  const heldMs = dice.whole(300, 4_000);
  const [lone, rest] = sides(kind, ring.present, victim, dice);
  const out = linksBetween(lone, rest);
  const back = linksBetween(rest, lone);
  const isOutward = dice.chance(0.5);
  const links = kind === "one-way" ? (isOutward ? out : back) : [...out, ...back];
  const names = lone.map(({ id }) => id).join(", ");
  const noise = how === "refuse" ? "connections refused" : "silently";
  const texts = {
    isolate: `member ${names} cut off, ${noise}`,
    "one-way": `member ${names} cut off ${isOutward ? "outwards" : "inwards"}, ${noise}`,
    split: `split into ${names} | ${rest.map(({ id }) => id).join(", ")}, ${noise}`,
  };
  return {
    kind,
    what: texts[kind],
    victims,
    holdsSession: kind === "isolate",
    holdMs: heldMs,
    elsewhere: () => (kind === "split" ? ring.up : ring.up.filter((member) => member !== victim)),
    begin: async () => network.cut(links, how),
    end: async () => network.heal(),
  };
}

/** The victim's side, and the other; a split has at least two on each side where there are enough. */
function sides(
  kind: FaultKind,
  present: readonly DrillMember[],
  victim: DrillMember,
  dice: Dice,
): readonly [DrillMember[], DrillMember[]] {
  const others = dice.shuffled(present.filter((member) => member !== victim));
  const most = kind === "split" ? Math.max(0, others.length - 2) : 0;
  const companions = others.slice(0, dice.whole(Math.min(1, most), most));
  return [[victim, ...companions], others.slice(companions.length)];
}

function linksBetween(froms: readonly DrillMember[], tos: readonly DrillMember[]): Link[] {
  return froms.flatMap((from) => tos.map((to) => ({ from: from.addr, to: to.addr })));
}

function join({ ring }: FaultTools): Fault {
  return {
    kind: "join",
    what: "a member joins",
    victims: [],
    holdsSession: false,
    holdMs: 0,
    elsewhere: () => ring.up,
    begin: async () => {
      const member = await ring.plan();
      await member.start(ring.entriesFor(member));
    },
    end: async () => undefined,
  };
}
