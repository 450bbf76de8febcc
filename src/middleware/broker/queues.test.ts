import { expect, test } from "vitest";
import type { ReplicatedMaildrop } from "../../replication/maildrop.js";
import type { QueueCall } from "../../replication/peer-methods.js";
import { messageOf } from "../../replication/testing.js";
import type { MailboxName, MemberUuid } from "../../shared/ids.js";
import type { Log } from "../../shared/log.js";
import { traceOf } from "./entry.js";
import type { QueueFields } from "./definitions.js";
import { brokerLimits } from "./limits.js";
import { Queues, type QueuesOptions } from "./queues.js";

const fields: QueueFields = {
  ...{ owner: "ann@ring.test" as MailboxName, incarnation: "i", exclusive: false },
  ...{ consumers: "owner", publishers: "owner", leaseMs: 1_000, deliveriesMax: 20 },
  ...{ messagesMax: 10, octetsMax: 1e6, push: true, boundTo: [] },
};

const entry = (n: number) => {
  const message = messageOf(n);
  const facts = { incarnation: "i", messages: 1, priority: 4 };
  const of = { domain: "ring.test", queue: "q", id: message.id, receivedAtMs: 0, facts };
  return { ...message, trace: traceOf(of) };
};

const nothing = (): void => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
};

/** One member, whose clock stands still until it is told to go on, and whose registers take their time. */
function member() {
  const now = { ms: 0 };
  const sleeping: (() => void)[] = [];
  const kept = new Map<string, unknown>();
  let isLocked = false;
  const messages = [entry(1)];
  const maildrop = (): ReplicatedMaildrop => {
    let isReleased = false;
    const list = { messages, unsure: new Set() };
    return {
      ...list,
      relist: async () =>
        isReleased ? { kind: "lost" } : { kind: "listed", ...list, digest: "d" },
      release: () => {
        if (!isReleased) isLocked = false;
        isReleased = true;
      },
    } as unknown as ReplicatedMaildrop;
  };
  const self = { uuid: "m" as MemberUuid };
  const options = {
    replication: {
      openMaildrop: async () => {
        if (isLocked) return { kind: "inUse", owner: self.uuid };
        isLocked = true;
        return { kind: "open", maildrop: maildrop() };
      },
      registers: {
        read: async (name: string) => ({ kind: "value", value: kept.get(name) ?? null }),
        change: async (name: string, make: (value: unknown) => { set?: { value: unknown } }) => {
          await turns(20);
          const { set } = make(kept.get(name) ?? null);
          if (set) kept.set(name, set.value);
          return { kind: "changed" };
        },
      },
      peers: {
        ...{ isSelf: () => true, self },
        call: (_: unknown, __: string, call: QueueCall) => queues.handle(call),
      },
      groups: { placementOf: () => ({ everyone: [self] }) },
      roster: { members: [self] },
    },
    queues: { recall: async () => ({ kind: "found", value: fields }) },
    deadLetters: {},
    domain: "ring.test",
    clock: {
      monotonicMs: () => now.ms,
      wallMs: () => now.ms,
      sleep: (ms: number, signal?: AbortSignal) =>
        new Promise<void>((resolve, reject) => {
          const over = (): void => reject(new Error("aborted"));
          signal?.addEventListener("abort", over);
          if (ms === brokerLimits.tickMs) sleeping.push(resolve);
        }),
    },
    random: { bytes: (n: number) => Buffer.alloc(n, kept.size) },
    log,
    onWake: () => undefined,
  } as unknown as QueuesOptions;
  const queues: Queues = new Queues(options);
  queues.start();
  const tick = (): void => {
    for (const wake of sleeping.splice(0)) wake();
  };
  return { queues, now, tick };
}

/** Between any two steps of a question that comes just then. */
const moments = Array.from({ length: 40 }, (_, n) => n);

function after(steps: number, run: () => void): void {
  if (steps === 0) run();
  else queueMicrotask(() => after(steps - 1, run));
}

function meanwhile<T>(moment: number, ask: () => Promise<T>, tick: () => void): Promise<T> {
  after(moment, tick);
  return new Promise((resolve) => after(10, () => resolve(ask())));
}

test("a leader that retires while it is asked: what it has handed out says so next time", async () => {
  for (const moment of moments) {
    const { queues, now, tick } = member();
    const first = await queues.handle({ queue: "q", command: "open", session: "m/1" });
    if (first.kind !== "entries") throw new Error(first.kind);
    const back = first.entries.map(({ message }) => message.id);
    await queues.handle({ queue: "q", command: "close", session: "m/1", back });
    now.ms += brokerLimits.idleMs;
    const ask = () => queues.handle({ queue: "q", command: "open", session: "m/2" });
    const reply = await meanwhile(moment, ask, tick);
    const times = reply.kind === "entries" ? reply.entries.length : 0;
    await turns(200);
    now.ms += 1_500;
    const next = await queues.handle({ queue: "q", command: "open", session: "m/3" });
    // "Perhaps seen" is no lie; "not seen" may be one.
    expect(next.kind === "entries" && next.entries[0]?.redelivered, `${moment}`).toSatisfy(
      (redelivered: number) => redelivered >= times,
    );
    queues.stop();
  }
});

test("a leader that retires while it is asked for something to be pushed gives nothing, or it says so", async () => {
  for (const moment of moments) {
    const { queues, now, tick } = member();
    const first = await queues.takeToPush("q");
    first?.giveBack(first.entries);
    now.ms += brokerLimits.idleMs;
    const batch = await meanwhile(moment, () => queues.takeToPush("q"), tick);
    const times = batch?.entries.length ?? 0;
    await turns(200);
    now.ms += 1_500;
    const next = await queues.takeToPush("q");
    expect(next?.entries[0]?.redelivered, `${moment}`).toBeGreaterThanOrEqual(times);
    queues.stop();
  }
});
