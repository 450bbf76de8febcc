/** Queues of a ring of three as programs use them: what they hold, and what becomes of it. */
import { beforeAll, expect, test } from "vitest";
import type {
  Delivery,
  Queue,
  Receipt,
  Ringpost,
  RingpostError,
  RingpostEvents,
} from "../../src/sdk/index.js";
import type { Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SdkClients, take, texts } from "../support/sdk-clients.js";
import { within } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
const clients = new SdkClients(() => ring);

beforeAll(async () => {
  ring = await scope.start({ members: 3, args: ["--registration", "open"] });
});

/** Far longer than any test waits: what comes again sooner was given back. */
const leaseMs = 3_600_000;

async function filled(queue: Queue, count: number): Promise<readonly string[]> {
  const bodies = Array.from({ length: count }, (_, n) => `job ${n}`);
  const receipts = await Promise.all(bodies.map((body) => queue.send(body)));
  await Promise.all(receipts.map(({ delivered }) => delivered));
  return bodies;
}

/** Takes `count` in hand, and settles none. */
async function hold(queue: Queue, count: number): Promise<Delivery[]> {
  const held: Delivery[] = [];
  const consumer = queue.consume()[Symbol.asyncIterator]();
  while (held.length < count) {
    const { value } = await within(consumer.next(), 60_000, "a job");
    held.push(value as Delivery);
  }
  return held;
}

const endings: Record<string, (client: Ringpost) => Promise<void>> = {
  "close()": (client) => client.close(),
  "drain()": (client) => client.drain(),
  "await using": async (client) => {
    await using _client = client;
  },
  "logout()": (client) => client.logout(),
};

test.each(Object.keys(endings))(
  "what a client has in hand at %s is another's at once, and what it acknowledged is not",
  async (ending) => {
    const { name, sdk } = await clients.user("owner");
    const queue = await sdk.queue(clients.name("work"), { leaseMs });
    const bodies = await filled(queue, 12);
    const first = await clients.login(name);
    const held = await hold(await first.queue(queue.name, { leaseMs }), 5);
    // Not waited for: it is on its way when the client ends.
    const acked = held[0]?.ack();
    await endings[ending]?.(first);
    await acked;
    expect(await queue.status()).toMatchObject({ leased: 0, ready: 11 });
    const rest = await take(queue.consume(), 11);
    expect(texts(rest).sort()).toEqual(bodies.filter((body) => body !== held[0]?.text()).sort());
  },
);

test("who subscribed before an event was there is told when it is then made for others", async () => {
  const owner = await clients.user("owner");
  const [friend, stranger] = [await clients.user("friend"), await clients.user("stranger")];
  const event = clients.name("news");
  const told = new Promise<RingpostEvents["deadLetter"]>((resolve) =>
    stranger.sdk.on("deadLetter", resolve),
  );
  const friends = await friend.sdk.subscribe(event);
  await stranger.sdk.subscribe(event);
  await owner.sdk.createEvent(event, { subscribers: [friend.id] });
  await (await owner.sdk.publish(event, "for friends")).delivered;
  expect(texts(await take(friends, 1))).toEqual(["for friends"]);
  const { code, why } = await within(told, 60_000, "the stranger to be told");
  expect(code).toBe("forbidden");
  expect(why).toMatch(new RegExp(`${event}.*subscribers.*subscribe again`));
  await expect(stranger.sdk.subscribe(event)).rejects.toMatchObject({ code: "forbidden" });
});

test("a message that no packet holds is refused for good, and what is around it comes", async () => {
  const { sdk } = await clients.user("sender");
  const queue = await sdk.queue(clients.name("work"));
  const told = new Promise<string>((resolve) => sdk.on("deadLetter", ({ why }) => resolve(why)));
  const mib = (count: number): Buffer => Buffer.alloc(count * 1024 * 1024, "large");
  const receipts: Receipt[] = [];
  for (const body of ["first", mib(2), "second", mib(6), "third"]) {
    receipts.push(await queue.send(body));
  }
  const [first, large, second, tooLarge, third] = receipts;
  for (const receipt of [first, large, second, third]) {
    if (receipt) await within(receipt.delivered, 60_000, "what can be delivered");
  }
  await expect(tooLarge?.delivered).rejects.toMatchObject({ code: "tooLarge", retryable: false });
  expect(await told).toContain("has to fit one packet");
  const taken = await take(queue.consume(), 4);
  expect(taken.map(({ bytes }) => bytes.length)).toEqual([5, 2 * 1024 * 1024, 6, 5]);
});

test("several queues settled at once: the one that is gone says so, the others' jobs are gone for good", async () => {
  const { name, sdk } = await clients.user("owner");
  const options = { leaseMs: 1_000 };
  const queues = await Promise.all(
    ["one", "two", "three", "four"].map((one) => sdk.queue(clients.name(one), options)),
  );
  for (const queue of queues) await filled(queue, 3);
  const worker = await clients.login(name, { first: ring.member(0) });
  const held = await Promise.all(
    queues.map(async (queue) => hold(await worker.queue(queue.name, options), 2)),
  );
  await queues[1]?.remove();
  const outcomes = await Promise.all(
    held.map((jobs) => Promise.allSettled(jobs.map((job) => job.ack()))),
  );
  const codes = outcomes.map((each) =>
    each.map((one) => (one.status === "fulfilled" ? "done" : (one.reason as RingpostError).code)),
  );
  const done = ["done", "done"];
  expect(codes).toEqual([done, ["unknown", "unknown"], done, done]);
  // In one mail, which a member has worked off in part.
  const said = ring.running.map((member) => member.tail(2_000)).join("\n");
  expect(said).toContain("not all settlements of a mail were done");
  await worker.close();
  // What was acknowledged outlives who acknowledged it; what was not is somebody else's.
  const [, , third] = queues;
  // (The last test of this file.)
  await ring.member(0).kill("SIGKILL");
  const other = await clients.login(name);
  for (const queue of [queues[0], third, queues[3]]) {
    if (!queue) continue;
    const [left] = await take((await other.queue(queue.name, options)).consume(), 1);
    const acked = held[queues.indexOf(queue)]?.map((job) => job.text()) ?? [];
    expect([...acked, left?.text()].sort()).toEqual(["job 0", "job 1", "job 2"]);
    expect(await (await other.queue(queue.name, options)).status()).toMatchObject({
      ...{ ready: 0, leased: 0, delayed: 0 },
    });
  }
});
