/** Bugs to plant in a simulated ring, each of which the checker has to find. */
import { createHash } from "node:crypto";
import { isInGroup } from "../../src/replication/placement.js";
import type { PeerMessage, Store } from "../../src/replication/ports.js";
import type { MailboxName, MessageId } from "../../src/shared/ids.js";
import type { Operation } from "../../src/shared/operation.js";
import {
  forgettingTombstones,
  withoutChecksum,
  withoutDirectorySync,
  withoutRewriting,
  withoutSync,
} from "./replication-disk-bugs.js";
import type { Life } from "./replication-life.js";
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
  return { name, finding, options: { events, disks: "memory", ...planted } };
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
      disks: "memory",
      ...slowNews,
      tamper: hiddenEpoch,
      faults: { wrapHandle: hiddenNews },
    },
  ],
  ["long sessions", { events: ["part"], disks: "memory", ...longSessions }],
];

const fenceless: WrapHandle = (_, method, message) => {
  if (method === "checkLock") return { answer: { kind: "held" } as PeerMessage };
  const { lock: _lock, ...rest } = message as { lock?: unknown };
  return method === "replicate" ? (rest as PeerMessage) : message;
};

/** The copies that a call brings. */
function additionsOf(method: string, message: PeerMessage) {
  const { operations } = message as { operations?: readonly Operation[] };
  if (method !== "replicate" || !operations) return [];
  return operations.flatMap((operation) => (operation.kind === "AddMessage" ? operation : []));
}

const isForeign = (life: Life, mailbox: MailboxName): boolean =>
  !isInGroup(life.replication.groups.placementOf(mailbox), life.self.uuid);

/** The same call, each copy under an id that this member makes up. */
function renamed(life: Life, message: PeerMessage): PeerMessage {
  const { operations } = message as { operations: readonly Operation[] };
  return {
    ...message,
    operations: operations.map((operation) => {
      if (operation.kind !== "AddMessage") return operation;
      const own = createHash("md5").update(`${life.self.uuid} ${operation.message.id}`);
      const id = own.digest("hex") as MessageId;
      return { ...operation, message: { ...operation.message, id } };
    }),
  } as PeerMessage;
}

const zero = { counter: 0, proposer: "" };
const promised = {
  kind: "promised",
  accepted: zero,
  value: null,
} as PeerMessage;
const accepted = { kind: "accepted" } as PeerMessage;
const stored = { kind: "stored" } as PeerMessage;

export const bugs: readonly Bug[] = [
  bug("a mail is acknowledged after one copy", ["wipe"], /: lost: /, {
    repairIntervalMs: 60_000,
    tamper: ({ method, answer }) => {
      if (method !== "replicate") return answer;
      answer.catch(() => undefined);
      return Promise.resolve(stored);
    },
  }),
  bug(
    "a silent member counts towards the quorum of a register",
    ["part", "cut"],
    /was (read|added)|: epochs: /,
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
    faults: { wrapHandle: fenceless },
  }),
  bug("an owner that was frozen deletes with its old lock", ["freeze"], /two sessions/, {
    ...longSessions,
    faults: { wrapHandle: fenceless },
  }),
  bug("a promise is not on disk when it is given", ["crashAll"], /was (read|added)|: epochs: /, {
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
    flushMaxMs: 400,
    faults: withStore((store) => ({
      write: (operations, bodies) => {
        store.write(operations, bodies).catch(() => undefined);
        return Promise.resolve();
      },
    })),
  }),
  bug("nobody is told of a doubt", ["part", "crash"], /doubled|resurrected/, {
    faults: {
      wrapHandle: (_, method, message) =>
        method === "settled" ? { answer: { kind: "ok" } as PeerMessage } : message,
    },
  }),
  bug("a copy is dropped by who says to have stored it", ["wipe"], /: lost: /, {
    repairIntervalMs: 60_000,
    faults: {
      wrapHandle: (life, method, message) =>
        additionsOf(method, message).length > 0 && life.self.uuid !== "uuid-1"
          ? { answer: stored }
          : message,
    },
  }),
  bug("a hint is lost", ["split"], /: lost: /, {
    members: 7,
    clients: { senders: 12, readers: 0, operators: 0 },
    faults: {
      wrapHandle: (life, method, message) =>
        additionsOf(method, message).some(({ mailbox }) => isForeign(life, mailbox))
          ? { answer: stored }
          : message,
    },
  }),
  bug("a copy gets an id of its own", ["crash"], /phantom/, {
    faults: {
      wrapHandle: (life, method, message) =>
        additionsOf(method, message).length > 0 ? renamed(life, message) : message,
    },
  }),
  bug("every identical mail is taken for a retry", ["join"], /: lost: /, {
    faults: {
      wrapHandle: (_, method, message) => {
        const { confirmed = [], ...rest } = message as { confirmed?: readonly MessageId[] };
        if (method !== "settled") return message;
        return { ...rest, confirmed: [], doubtful: confirmed } as PeerMessage;
      },
    },
  }),
  bug("a UIDL is the number in the list", ["crash"], /changed UIDL/, {
    uidlOf: (_, index) => String(index + 1),
  }),
  bug("an account is written by whom it reaches", ["part", "split"], /lost change|two accounts/, {
    clients: { senders: 0, readers: 0, operators: 12 },
    tamper: ({ method, answer }) => {
      if (method !== "accept") return answer;
      answer.catch(() => undefined);
      return Promise.resolve(accepted);
    },
  }),
  bug("what members know of an account gets lost on the way", ["crash"], /no such user/, {
    members: 5,
    tamper: changingAnswer("readRegister", (answer) =>
      "accepted" in answer ? ({ ...answer, accepted: zero, value: null } as PeerMessage) : answer,
    ),
  }),
  bug("a roster is not on disk when it is followed", ["joinKill", "crashAll"], /: epoch/, {
    flushMaxMs: 1_500,
    faults: withStore((store) => ({
      write: (operations, bodies) => {
        const done = store.write(operations, bodies);
        done.catch(() => undefined);
        return operations.some(({ kind }) => kind === "PutLocal") ? Promise.resolve() : done;
      },
    })),
  }),
  bug("a body is served without a look at its digest", ["flip"], /corrupt/, {
    disks: "memory",
    faults: withStore((store) => ({
      readBody: (digest, range) =>
        store.readBody(digest, range ?? { offset: 0, length: Number.MAX_SAFE_INTEGER }),
    })),
  }),
  bug("an fsync of the journal is left out", ["crashAll"], /: lost: /, {
    disks: "journal",
    faults: { wrapDisk: withoutSync },
  }),
  bug("what a failed fsync left is believed", ["failSync", "crashAll"], /unserved|: lost: /, {
    members: 1,
    disks: "journal",
    faults: { wrapDisk: withoutRewriting },
  }),
  bug("the name of a new file is not made durable", ["crashAll"], /: lost: |does not start/, {
    disks: "journal",
    faults: { wrapDisk: withoutDirectorySync },
  }),
  bug("a replay forgets deletions", ["crashAll"], /resurrected/, {
    disks: "journal",
    faults: { wrapDisk: forgettingTombstones },
  }),
  bug("a torn tail is believed", ["crashAll"], /does not start|corrupt|: lost: |unserved/, {
    disks: "journal",
    faults: { wrapDisk: withoutChecksum },
  }),
];
