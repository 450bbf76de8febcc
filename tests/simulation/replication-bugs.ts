/** Bugs to plant in a simulated ring, each of which the checker has to find. */
import type { PeerMessage, Store } from "../../src/replication/ports.js";
import type { Tamper } from "./replication-network.js";
import type { EventKind } from "./replication-plan.js";
import type { ScenarioOptions } from "./replication-scenario.js";
import type { Faults } from "./replication-world.js";

export interface Bug {
  readonly name: string;
  readonly options: Omit<ScenarioOptions, "seed">;
  /** What the checker says of it. */
  readonly finding: RegExp;
}

/** The caller takes `reply` for an answer where there was none. */
const insteadOfSilence =
  (methods: Readonly<Record<string, PeerMessage>>): Tamper =>
  ({ method, answer }) => {
    const reply = methods[method];
    return reply ? answer.catch(() => reply) : answer;
  };

const changingAnswer =
  (wanted: string, change: (answer: PeerMessage) => PeerMessage): Tamper =>
  ({ method, answer }) =>
    method === wanted ? answer.then(change) : answer;

/** The store of every member, with some of its methods replaced. */
function withStore(override: (store: Store) => Partial<Store>): Faults {
  return {
    wrapStore: (store) => {
      const methods = override(store);
      return new Proxy(store, {
        get: (target, name) => {
          const value: unknown = Reflect.get(Reflect.has(methods, name) ? methods : target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
}

function bug(
  name: string,
  events: readonly EventKind[],
  finding: RegExp,
  planted: Omit<ScenarioOptions, "seed" | "events">,
): Bug {
  return { name, finding, options: { events, ...planted } };
}

type WrapHandle = NonNullable<Faults["wrapHandle"]>;

/** Most of the time, members learn of a new roster only from those who refuse an old one. */
const isHidden = (nowMs: number): boolean => nowMs % 10_000 < 8_000;
const hiddenNews: WrapHandle = (life, method, message) => {
  if (!isHidden(life.world.clock.nowMs)) return message;
  if (method === "newRoster") return { answer: {} };
  return method === "beat" ? ({ ...message, epoch: 0 } as PeerMessage) : message;
};
const hiddenEpoch: Tamper = ({ method, answer, nowMs }) =>
  method === "beat" && isHidden(nowMs)
    ? answer.then((reply) => ({ ...reply, epoch: 0 }) as PeerMessage)
    : answer;

const noEpochs: WrapHandle = (life, method, message) => {
  const heard = hiddenNews(life, method, message);
  if ("answer" in heard || method === "beat" || !("epoch" in heard)) return heard;
  return { ...heard, epoch: life.replication.roster.epoch } as PeerMessage;
};

const slowNews = {
  repairIntervalMs: 60_000,
  clients: { senders: 2, readers: 0, operators: 12 },
} as const;
const longSessions = {
  mailboxes: 1,
  sessionMs: 6_000,
  busyMs: 60_000,
  clients: { senders: 8, readers: 12, operators: 0 },
} as const;
/** The same scenarios without the bugs: what is found has to be the bugs' doing. */
export const controls: readonly (readonly [string, Omit<ScenarioOptions, "seed">])[] = [
  [
    "slow news",
    {
      events: ["join", "leave"],
      ...slowNews,
      tamper: hiddenEpoch,
      faults: { wrapHandle: hiddenNews },
    },
  ],
  ["long sessions", { events: ["part"], ...longSessions }],
];

const zero = { counter: 0, proposer: "" };
const promised: PeerMessage & Record<string, unknown> = {
  kind: "promised",
  accepted: zero,
  value: null,
};
const accepted: PeerMessage & Record<string, unknown> = { kind: "accepted" };
const stored: PeerMessage & Record<string, unknown> = { kind: "stored" };

export const bugs: readonly Bug[] = [
  bug("a mail is acknowledged after one copy", ["wipe", "part"], /: lost: /, {
    tamper: ({ method, answer }) => {
      if (method !== "replicate") return answer;
      answer.catch(() => undefined);
      return Promise.resolve(stored);
    },
  }),
  bug(
    "a silent member counts towards the quorum of a register",
    ["part", "cut"],
    /was (read|added)|two rosters/,
    {
      tamper: insteadOfSilence({ prepare: promised, accept: accepted }),
    },
  ),
  bug("a pull drops the tombstones", ["crash", "part"], /resurrected|not at rest/, {
    tamper: changingAnswer("listing", (answer) => ({ ...answer, removed: [] }) as PeerMessage),
  }),
  bug("nobody looks at the epoch", ["join", "leave"], /was (read|added)/, {
    ...slowNews,
    tamper: hiddenEpoch,
    faults: { wrapHandle: noEpochs },
  }),
  bug("who gains a range does not read it", ["join", "leave"], /: lost: |was read/, {
    repairIntervalMs: 60_000,
    tamper: changingAnswer(
      "gains",
      (answer) => ({ ...answer, mailboxes: [], registers: [], more: false }) as PeerMessage,
    ),
  }),
  bug("the lock is not looked at when mail is deleted", ["part"], /two sessions/, {
    ...longSessions,
    faults: {
      wrapHandle: (_, method, message) => {
        if (method === "checkLock") return { answer: { kind: "held" } as PeerMessage };
        const { lock: _lock, ...rest } = message as { lock?: unknown };
        return method === "replicate" ? (rest as PeerMessage) : message;
      },
    },
  }),
  bug("a promise is not on disk when it is given", ["crashAll"], /was (read|added)|two rosters/, {
    flushMaxMs: 400,
    clients: { senders: 0, readers: 0, operators: 12 },
    faults: withStore((store) => ({
      write: (operations, bodies) => {
        const done = store.write(operations, bodies);
        return operations.some(({ kind }) => kind === "PutRegister") ? Promise.resolve() : done;
      },
    })),
  }),
  bug("a mail is acknowledged before it is on disk", ["crashAll"], /: lost: /, {
    faults: withStore((store) => ({
      write: (operations, bodies) => {
        store.write(operations, bodies).catch(() => undefined);
        return Promise.resolve();
      },
    })),
  }),
  bug("nobody is told of a doubt", ["part", "crash"], /doubled/, {
    faults: {
      wrapHandle: (_, method, message) =>
        method === "settled" ? { answer: { kind: "ok" } as PeerMessage } : message,
    },
  }),
];
