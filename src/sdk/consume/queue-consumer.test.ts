import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Pop3Client } from "../../client/pop3-client.js";
import type { Settlement } from "../../ebm/index.js";
import type { Delivery } from "../api.js";
import type { InboundMessage, Link, Received } from "../link/ports.js";
import type { Bell } from "./bell.js";
import { QueueConsumer } from "./queue-consumer.js";
import { Settler } from "./settler.js";

/** An entry that has one message, or parts of them. */
type Shown = Omit<Extract<Received, { kind: "entry" }>, "kind" | "queue">;

function messageNamed(id: string): InboundMessage {
  const origin = { user: "ann@ring.test", device: "d", epoch: 1 };
  return {
    ...{ id, origin, stream: "main", sequence: 1, octets: 1, redelivered: 0, queue: "q" },
    ...{ properties: { sentAtMs: 0 }, body: async () => Buffer.from(id) },
  };
}

/** A queue that shows all that is not settled, at each look. */
const queue = new Map<string, Shown>();
const retrieved: string[] = [];
const givenBack: string[] = [];
/** Of each question to the ring, whose leases are to be longer. */
const extended: (readonly string[])[] = [];
let looks = 0;
/** Mails come when it resolves, settlements are answered when the other one does. */
let fetching: Promise<void>;
let answering: Promise<void>;
let closing: AbortController;
let consumer: QueueConsumer;
let start: (bell?: Bell) => void;

const client = {
  list: async () => [...queue.keys()].map((_, index) => [index + 1, 10] as const),
  uidl: async () => [...queue.keys()],
  retrEach: async function* (numbers: readonly number[]) {
    const uids = [...queue.keys()];
    await fetching;
    for (const number of numbers) yield Buffer.from(uids[number - 1] ?? "");
  },
} as unknown as Pop3Client;

beforeEach(() => {
  queue.clear();
  retrieved.length = 0;
  givenBack.length = extended.length = 0;
  looks = 0;
  fetching = answering = Promise.resolve();
  closing = new AbortController();
  const { signal } = closing;
  const settle = async ({ ack = [], reject = [], nack = [], extend = [] }: Settlement) => {
    if (extend.length > 0) extended.push(extend.map(({ entry }) => entry));
    for (const { entry } of nack) givenBack.push(entry);
    await answering;
    for (const uid of [...ack, ...reject]) queue.delete(uid);
  };
  const link = {
    receive: async (mail: Buffer): Promise<Received> => {
      retrieved.push(String(mail));
      const shown = queue.get(String(mail)) ?? { messages: [], waiting: [] };
      return { kind: "entry", queue: "q", ...shown };
    },
    consume: async () => undefined,
  } as unknown as Link;
  start = (bell) => {
    consumer = new QueueConsumer(
      {
        ...{ queue: "q", link, leaseMs: 30_000, poll: { minMs: 1, maxMs: 5 }, bell },
        settler: new Settler({ queue: "q", settle, lingerMs: 1, signal, hurry: () => undefined }),
        open: async (use) => {
          await use(client);
          looks += 1;
        },
        ...{ failed: () => undefined, closing: signal },
        ...{ opened: () => undefined, closed: () => undefined },
      },
      { prefetch: 32 },
    );
  };
  start();
});
afterEach(() => {
  closing.abort();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const moreLooks = async (count: number): Promise<void> => {
  const until = looks + count;
  await expect.poll(() => looks >= until, { interval: 2 }).toBe(true);
};

async function next(): Promise<Delivery> {
  const { value } = await consumer.stream[Symbol.asyncIterator]().next();
  return value as Delivery;
}

test("what is shown again while it is in hand is neither fetched nor handed out a second time", async () => {
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  const first = await next();
  await moreLooks(3);
  expect(retrieved).toEqual(["u1"]);
  queue.set("u2", { messages: [messageNamed("m2")], waiting: [] });
  const second = await next();
  expect([first.id, second.id]).toEqual(["m1", "m2"]);
  await Promise.all([first.ack(), second.ack()]);
  expect([...queue.keys()]).toEqual([]);
  expect(retrieved).toEqual(["u1", "u2"]);
});

test("entries with blocks of a message are settled when it is consumed, not before", async () => {
  const large = messageNamed("large");
  queue.set("u1", { messages: [], waiting: [large] });
  queue.set("u2", { messages: [messageNamed("small")], waiting: [large] });
  const small = await next();
  await small.ack();
  await moreLooks(2);
  expect([...queue.keys()]).toEqual(["u1", "u2"]);
  queue.set("u3", { messages: [large], waiting: [] });
  const whole = await next();
  expect(whole.id).toBe("large");
  await whole.ack();
  await expect.poll(() => [...queue.keys()]).toEqual([]);
  expect(retrieved).toEqual(["u1", "u2", "u3"]);
});

test("blocks of a message that its sender has given up go, and what came with them stays", async () => {
  const large = messageNamed("large");
  queue.set("u1", { messages: [], waiting: [large] });
  queue.set("u2", { messages: [messageNamed("small")], waiting: [large] });
  const small = await next();
  await moreLooks(2);
  expect([...queue.keys()]).toEqual(["u1", "u2"]);
  queue.set("u3", { messages: [], waiting: [], over: [large] });
  await expect.poll(() => [...queue.keys()]).toEqual(["u2"]);
  await small.ack();
  await expect.poll(() => [...queue.keys()]).toEqual([]);
});

test("blocks go when the time of their message is long over, unless all of them are there", async () => {
  const properties = { sentAtMs: 0, expiresAtMs: Date.now() - 3_600_000 };
  const [lost, whole] = [messageNamed("lost"), messageNamed("whole")].map((one) => ({
    ...one,
    properties,
  }));
  if (!lost || !whole) throw new Error("no messages");
  queue.set("u1", { messages: [], waiting: [lost] });
  queue.set("u2", { messages: [], waiting: [whole] });
  queue.set("u3", { messages: [whole], waiting: [] });
  await expect.poll(() => [...queue.keys()]).toEqual(["u2", "u3"]);
  expect((await next()).id).toBe("whole");
});

test("a message that can't be read goes to the dead letters with all that it came in", async () => {
  const broken = { ...messageNamed("broken"), body: () => Promise.reject(new Error("no")) };
  queue.set("u1", { messages: [], waiting: [broken] });
  queue.set("u2", { messages: [broken], waiting: [] });
  await expect.poll(() => [...queue.keys()]).toEqual([]);
});

test("a consumer that has ended has given back what it had, also when the client closes at once", async () => {
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  queue.set("u2", { messages: [messageNamed("m2")], waiting: [] });
  for await (const message of consumer.stream) {
    expect(message.id).toBe("m1");
    break;
  }
  closing.abort();
  expect(givenBack.sort()).toEqual(["u1", "u2"]);
});

test("what is on its way to a consumer that ends is given back as soon as it is here", async () => {
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  let arrive = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    fetching = new Promise((come) => {
      arrive = come;
    });
    const { list } = client;
    vi.spyOn(client, "list").mockImplementationOnce(async () => {
      setImmediate(resolve);
      return await list.call(client);
    });
  });
  await asked;
  const closed = consumer.stream.close();
  arrive();
  await closed;
  expect(givenBack).toEqual(["u1"]);
});

test("the end of a consumer waits for a ring that does not answer for five seconds, and no longer", async () => {
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  await next();
  answering = new Promise(() => undefined);
  vi.useFakeTimers();
  let isClosed = false;
  const closed = consumer.stream.close().then(() => {
    isClosed = true;
  });
  await vi.advanceTimersByTimeAsync(4_900);
  expect(isClosed).toBe(false);
  await vi.advanceTimersByTimeAsync(200);
  await closed;
});

test("with a bell it looks when that rings, and says that it listens when all is settled", async () => {
  await consumer.stream.close();
  const heard: boolean[] = [];
  const bell = {
    ...{ isOfUse: true, add: () => undefined, delete: () => undefined },
    listen: ({ isBusy }: { readonly isBusy: boolean }) => void heard.push(isBusy),
  } as unknown as Bell;
  looks = 0;
  start(bell);
  await expect.poll(() => consumer.isQuiet).toBe(true);
  expect([looks, heard]).toEqual([1, [false]]);
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  // Ten times as long as it waits at most without a bell.
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(looks).toBe(1);
  consumer.poke();
  const first = await next();
  await expect.poll(() => looks).toBe(2);
  expect(consumer.isQuiet).toBe(false);
  await first.ack();
  await expect.poll(() => consumer.isQuiet).toBe(true);
  expect([...queue.keys()]).toEqual([]);
  expect(heard).toEqual([false, true]);
});

test("while the ring does not answer, it is asked for longer leases once, not once more each time", async () => {
  vi.useFakeTimers();
  let answer: () => void = () => undefined;
  answering = new Promise((resolve) => (answer = resolve));
  queue.set("u1", { messages: [messageNamed("m1")], waiting: [] });
  start();
  await vi.advanceTimersByTimeAsync(600_000);
  answer();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(extended.length).toBeGreaterThan(1);
  for (const entries of extended) expect(entries).toEqual(["u1"]);
});
