/** Bugs, planted one at a time, that the checker of the link's simulation must find. */
import { Journal } from "../../src/sdk/journal/journal.js";
import type { JournalRecord } from "../../src/sdk/journal/records.js";
import { Intervals } from "../../src/sdk/journal/intervals.js";
import { type InStream, streamKey } from "../../src/sdk/journal/in-state.js";
import { JournalState } from "../../src/sdk/journal/state.js";
import { Handing } from "../../src/sdk/link/handing.js";
import { Inbound } from "../../src/sdk/link/inbound.js";
import { PeerSender } from "../../src/sdk/link/peer-sender.js";
import { Sender } from "../../src/sdk/link/sender.js";
import { Waiting } from "../../src/sdk/link/waiting.js";
import type { HistoryOptions } from "./link-world.js";

export interface Bug {
  readonly name: string;
  /** Answers how to take it out again. */
  readonly plant: () => () => void;
  readonly options: Omit<HistoryOptions, "seed">;
  readonly finding: RegExp;
  /** One that finds it soon, where others take long. */
  readonly firstSeed?: number;
}

/** Replaces one property of a prototype. */
function patch(prototype: object, name: string, make: (original: never) => unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name);
  if (!before) throw new Error(`nothing is called ${name}`);
  const original = (before.get ?? before.value) as never;
  const after = make(original);
  const isGetter = before.get !== undefined;
  Object.defineProperty(prototype, name, {
    configurable: true,
    ...(isGetter ? { get: after as () => unknown } : { writable: true, value: after }),
  });
  return () => void Object.defineProperty(prototype, name, before);
}

type Method<This = unknown> = (this: This, ...args: unknown[]) => unknown;

/** Records of a kind are not written. */
const forgets = (kind: JournalRecord["kind"]) => (): (() => void) =>
  patch(
    Journal.prototype,
    "write",
    (write: Method) =>
      function (this: Journal, ...args) {
        const record = args[0] as JournalRecord;
        if (record.kind !== kind) return write.apply(this, args);
        this.state.apply(record, Buffer.alloc(0));
        return Promise.resolve();
      } satisfies Method<Journal>,
  );

/** A method does nothing. */
const skip = (prototype: object, name: string, answer?: unknown) => (): (() => void) =>
  patch(prototype, name, () => () => answer);

const stormy = { faults: { drop: 0.3, double: 0.3, delayMaxMs: 60_000, noReply: 0.1, kill: 0 } };
const crashing = { ...stormy, crashes: 10, messages: 60 };
/** Between what is said and what is durable there is time to die. */
const slowly = { ...crashing, crashes: 30, wipe: 0, fsyncMaxMs: 4_000 };
/** Some are given back each time. */
const poisoned = { crashes: 0, messages: 20, poisonEach: 7, faults: { kill: 0 } };

export const bugs: readonly Bug[] = [
  {
    name: "what is not fsynced is acknowledged",
    plant: () =>
      patch(
        Journal.prototype,
        "write",
        (write: Method) =>
          function (this: unknown, ...args: unknown[]) {
            const written = write.apply(this, args) as Promise<void>;
            written.catch(() => undefined);
            return Promise.resolve();
          },
      ),
    options: slowly,
    finding: /^(lost|again|phantom)/m,
  },
  {
    name: "what was consumed is not written down",
    plant: forgets("inSettled"),
    options: crashing,
    finding: /^again/m,
  },
  {
    name: "duplicates are not recognised",
    plant: () => {
      const undo = skip(Inbound.prototype, "isWanted", true)();
      const undoToo = patch(
        JournalState.prototype,
        "apply",
        (apply: Method) =>
          function (this: JournalState, ...args) {
            const record = args[0] as JournalRecord;
            if (record.kind === "in") forgetSettled(this, record);
            apply.apply(this, args);
          } satisfies Method<JournalState>,
      );
      return () => {
        undo();
        undoToo();
      };
    },
    options: stormy,
    finding: /^again/m,
  },
  {
    name: "holes are not sent again",
    plant: skip(Waiting.prototype, "addHoles"),
    options: { ...stormy, crashes: 0 },
    finding: /^lost/m,
  },
  {
    name: "the window is ignored",
    plant: () => patch(PeerSender.prototype, "windowOctets", () => () => Infinity),
    options: {
      ...{ lazy: true, crashes: 0, peers: 2, messages: 50, mortal: 0 },
      // Mails that are left in a maildrop are read again at each poll: few of them, or it takes long.
      faults: { drop: 0, double: 0, noReply: 0, kill: 0, sizeMax: Infinity },
    },
    finding: /^overrun/m,
    firstSeed: 2,
  },
  {
    name: "what comes again is taken for more",
    plant: () =>
      patch(
        Intervals.prototype,
        "missing",
        () => (from: number, to: number) => (to < from ? [] : [[from, to]]),
      ),
    options: { lazy: true, crashes: 0, peers: 2, messages: 120, mortal: 0, faults: { kill: 0 } },
    finding: /^overrun/m,
  },
  {
    name: "what nobody can consume is handed out for ever",
    plant: () =>
      patch(
        Journal.prototype,
        "note",
        (note: Method) =>
          function (this: unknown, ...args: unknown[]) {
            if ((args[0] as JournalRecord).kind !== "handed") note.apply(this, args);
          },
      ),
    options: poisoned,
    finding: /^poison/m,
  },
  {
    name: "the order is ignored",
    plant: () =>
      patch(
        Handing.prototype,
        "headOf",
        (headOf: Method) =>
          function (this, ...args) {
            const [stream, ...rest] = args as [InStream, ...unknown[]];
            const { settled, messages } = stream;
            for (const sequence of [0, ...messages.keys()]) {
              const through = Math.max(settled.through, sequence - 1);
              const has = (each: number) => settled.has(each);
              const found = headOf.call(this, { ...stream, settled: { through, has } }, ...rest);
              if (found !== undefined) return found;
            }
            return undefined;
          } satisfies Method,
      ),
    options: stormy,
    finding: /^order/m,
  },
  {
    name: "packet numbers are used again",
    plant: forgets("reserve"),
    options: crashing,
    finding: /^lost/m,
  },
  {
    name: "a receiver that lost its journal is not believed",
    plant: () => patch(PeerSender.prototype, "isCurrent", () => () => true),
    options: { ...crashing, wipe: 0.5 },
    finding: /^lost/m,
  },
  {
    name: "the tail of a message that was cut is forgotten",
    plant: () =>
      patch(
        Waiting.prototype,
        "choose",
        (choose: Method) =>
          function (this: unknown, ...args: unknown[]) {
            const pieces = choose.apply(this, args) as {
              load: { sentUpTo: number; span: number };
            }[];
            for (const { load } of pieces) load.sentUpTo = load.span;
            return pieces;
          },
      ),
    options: { crashes: 0, faults: { sizeMax: 9_000, kill: 0 } },
    finding: /^lost/m,
  },
  {
    name: "nobody is woken when what they wait for is void",
    plant: () =>
      patch(
        Inbound.prototype,
        "take",
        (take: Method) =>
          function (this: unknown, ...args: unknown[]) {
            const inbound = this as { context: { passed: () => void } };
            inbound.context = { ...inbound.context, passed: () => undefined };
            return take.apply(this, args);
          },
      ),
    // Few messages, or the next one wakes them; and all the time that timers may take.
    options: {
      ...{ mortal: 0.5, messages: 6, peers: 2, crashes: 0, healMs: 3 * 86_400_000 },
      faults: { drop: 0.7, double: 0, delayMaxMs: 400_000, kill: 0 },
    },
    finding: /^lost/m,
    firstSeed: 163,
  },
  {
    name: "packets that are on their way are passed by the floor",
    plant: () => patch(Sender.prototype, "floorAt", () => (number: number) => number),
    options: {
      messages: 80,
      crashes: 0,
      peers: 2,
      faults: { drop: 0.3, double: 0, delayMaxMs: 200_000 },
    },
    finding: /^lost/m,
    firstSeed: 2,
  },
  {
    name: "a consumed message is told before it is durable",
    plant: () =>
      patch(
        Handing.prototype,
        "consume",
        (consume: Method) =>
          function (this: unknown, ...args: unknown[]) {
            (consume.apply(this, args) as Promise<void>).catch(() => undefined);
            return Promise.resolve();
          },
      ),
    options: slowly,
    finding: /^again/m,
  },
];

function forgetSettled({ in: streams }: JournalState, record: JournalRecord & { kind: "in" }) {
  for (const { stream, sequence } of record.parts) {
    const known = streams.get(streamKey(record.origin, stream));
    if (!known?.settled.has(sequence)) continue;
    const ranges = known.settled.ranges.flatMap(([from, to]): [number, number][] =>
      sequence < from || sequence > to
        ? [[from, to]]
        : (
            [
              [from, sequence - 1],
              [sequence + 1, to],
            ] as [number, number][]
          ).filter(([a, b]) => a <= b),
    );
    Object.assign(known, { settled: new Intervals(ranges) });
  }
}
