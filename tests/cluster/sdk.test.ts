/** The SDK against a ring of three: what an application sees, also when members are killed. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect, connectExchange, type Consumer, type Message } from "../../src/sdk/index.js";
import { password } from "../support/ring.js";
import { ringOfFile } from "../support/ring-scope.js";
import { SdkClients, take } from "../support/sdk-clients.js";
import { temporaryFolder } from "../support/temporary.js";
import { within } from "../support/wait.js";

const stores = temporaryFolder("sdk");
const ring = ringOfFile({ members: 3, args: ["--registration", "open"] });
const clients = new SdkClients(() => ring);

test("registers, logs in elsewhere, and messages go both ways", async () => {
  const alice = await clients.user("alice");
  const bob = await clients.user("bob", { first: ring.member(2) });
  expect(alice.sdk.user).toBe(`${alice.name}@ring.test`);

  const receipt = await alice.sdk.send(bob.name, { greeting: "hello" });
  const [first] = await take(bob.sdk.inbox(), 1);
  expect(first).toMatchObject({ from: `${alice.name}@ring.test`, stream: "main", sequence: 1 });
  expect(first?.json()).toEqual({ greeting: "hello" });
  await receipt.consumed;

  bob.sdk.respond((request) => `${request.text()}, too`);
  expect((await alice.sdk.request(bob.name, "good morning")).text()).toBe("good morning, too");

  const wrong = await clients.client();
  await expect(wrong.login({ user: alice.name, password: "wrong" })).rejects.toMatchObject({
    code: "denied",
    retryable: false,
  });
});

test("programs of one user that log in at once all come in, and their loops end with them", async () => {
  const { name } = await clients.user("crowd");
  const servers = ring.running.map(({ addr }) => addr);
  const account = { user: name, password };
  const all = await Promise.all(Array.from({ length: 4 }, () => connect({ servers, account })));
  for (const one of all) clients.keep(one);
  expect(all.map((one) => one.user)).toEqual(all.map(() => `${name}@ring.test`));
  const loops = all.map((one) => take(one.inbox(), 1));
  await Promise.all(all.map((one) => one.close()));
  expect(await Promise.all(loops)).toEqual(all.map(() => []));
});

test("a message waits for who has never logged in; to nobody it fails", async () => {
  const writer = await clients.user("writer");
  const late = clients.name("late");
  await ring.addUsers([late]);
  const receipt = await writer.sdk.send(late, "welcome");
  await receipt.accepted;
  const reader = await clients.client();
  await reader.login({ user: late, password });
  expect((await take(reader.inbox(), 1))[0]?.text()).toBe("welcome");
  const lost = await writer.sdk.send("nobody-at-all", "hello?");
  await expect(lost.delivered).rejects.toMatchObject({ code: "dead" });
});

test("contacts, chats and people's mail", async () => {
  const carol = await clients.user("carol");
  const dave = await clients.user("dave");
  await carol.sdk.contacts.add({ user: dave.name, name: "D." });
  expect(await carol.sdk.contacts.list()).toEqual([{ user: `${dave.name}@ring.test`, name: "D." }]);

  await dave.sdk.chats.list();
  const chat = await carol.sdk.chats.open(dave.name);
  const receipt = await chat.send("are you there?");
  await receipt.consumed;
  expect(chat.messages).toMatchObject([{ text: "are you there?", state: "read" }]);
  expect((await dave.sdk.chats.open(carol.name)).messages).toMatchObject([
    { text: "are you there?", from: `${carol.name}@ring.test`, state: "received" },
  ]);

  const to = [`${dave.name}@ring.test`];
  await carol.sdk.mailbox.send({ to, subject: "Grüße", text: "from a person" });
  expect(await carol.sdk.mailbox.list("outbox")).toHaveLength(1);
  const [mail] = await dave.sdk.mailbox.list("inbox");
  expect(mail).toMatchObject({ subject: "Grüße", read: false });
  await dave.sdk.mailbox.markRead([mail?.uid ?? ""]);
  expect(await dave.sdk.mailbox.list("inbox")).toMatchObject([{ read: true }]);
  await dave.sdk.mailbox.delete("inbox", [mail?.uid ?? ""]);
  expect(await dave.sdk.mailbox.list("inbox")).toEqual([]);
});

test("an event comes to each subscriber, in order", async () => {
  const publisher = await clients.user("publisher");
  const [left, right] = [
    await clients.user("left"),
    await clients.user("right", { first: ring.member(1) }),
  ];
  await publisher.sdk.createEvent("news");
  const all = await left.sdk.subscribe("news");
  const some = await right.sdk.subscribe("news", { key: "odd.#" });
  const receipts = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      publisher.sdk.publish("news", String(n), { key: n % 2 === 0 ? "even" : "odd.one" }),
    ),
  );
  await Promise.all(receipts.map(({ delivered }) => delivered));
  const texts = (messages: readonly Message[]): number[] => messages.map((m) => Number(m.text()));
  const numbers = Array.from({ length: 100 }, (_, n) => n);
  expect(texts(await take(all, 100))).toEqual(numbers);
  expect(texts(await take(some, 50))).toEqual(numbers.filter((n) => n % 2 === 1));
});

test("the three-line client, and the one with a callback", async () => {
  const reader = await clients.user("reader");
  const { name } = await clients.user("writer");
  const servers = [ring.member(0).addr];
  const sdk = await connect({ servers, account: { user: name, password } });
  clients.keep(sdk);
  await (await sdk.publish("bulletin", "hello")).delivered;
  // Whoever publishes first has made the event: others may subscribe to it, not publish.
  const bulletin = await reader.sdk.subscribe("bulletin");
  await (await sdk.publish("bulletin", "to whom it concerns")).delivered;
  expect((await take(bulletin, 1))[0]?.text()).toBe("to whom it concerns");
  const intruder = await reader.sdk.publish("bulletin", "not mine");
  await expect(intruder.delivered).rejects.toMatchObject({ code: "dead" });

  const account = { user: name, password };
  const north = await connectExchange("topic", "bulletin", "north", { servers, account }).catch(
    (error: unknown) => error,
  );
  expect(north).toMatchObject({ code: "exists" });
  const weather = await connectExchange("direct", "weather", "north", { servers, account });
  const told = new Promise((resolve) => void weather.publish("snow", resolve));
  expect(await within(told, 30_000, "the callback")).toBeUndefined();
  await weather.close();
});

test("a queue shared by two consumers, and its dead letters", async () => {
  const owner = await clients.user("owner");
  const helper = await clients.user("helper", { first: ring.member(2) });
  const options = { consumers: [`${helper.name}@ring.test`, `${owner.name}@ring.test`] };
  const jobs = await owner.sdk.queue("jobs", options);
  const receipts = await Promise.all(
    Array.from({ length: 40 }, (_, n) => jobs.send({ n }, { stream: "jobs" })),
  );
  await Promise.all(receipts.map(({ delivered }) => delivered));
  const done: number[] = [];
  const workers = [jobs, await helper.sdk.queue("jobs", options)].map(async (queue) => {
    let own = 0;
    for await (const job of queue.consume({ prefetch: 4 })) {
      done.push((job.json() as { n: number }).n);
      own += 1;
      await job.ack();
      if (done.length >= 40 || own >= 20) break;
    }
    return own;
  });
  const counts = await within(Promise.all(workers), 60_000, "both consumers to have 20 jobs each");
  expect(counts).toEqual([20, 20]);
  expect(new Set(done).size).toBe(40);
  expect(await jobs.status()).toMatchObject({ ready: 0, leased: 0 });

  await (await jobs.send("poison")).delivered;
  for await (const job of jobs.consume()) {
    await job.reject("can't be done");
    break;
  }
  expect(await jobs.deadLetters().status()).toMatchObject({ ready: 1 });
  expect(await jobs.redrive()).toBe(1);
  expect((await take(jobs.consume(), 1))[0]?.text()).toBe("poison");
});

test("a store goes on where its process stopped", async () => {
  const receiver = await clients.user("receiver");
  const store = join(stores, "sender");
  const before = await clients.client({ store });
  const name = clients.name("sender");
  await before.register({ user: name, password });
  const first = await before.send(receiver.name, "one");
  await take(receiver.sdk.inbox(), 1);
  await first.consumed;
  // In the journal, and no time to leave it.
  await Promise.all(["two", "three", "four"].map((text) => before.send(receiver.name, text)));
  await before.close();

  const after = await clients.client({ store });
  await after.login({ user: name, password });
  const rest = await take(receiver.sdk.inbox(), 3);
  expect(rest.map((message) => message.text())).toEqual(["two", "three", "four"]);
  expect(rest.map(({ sequence }) => sequence)).toEqual([2, 3, 4]);
});

test("the server in use is killed: nothing is lost, nothing doubled", async () => {
  const victim = ring.member(0);
  const sender = await clients.user("sender", { first: victim });
  const receiver = await clients.user("receiver", { first: victim });
  await sender.sdk.createEvent("ticks");
  const ticks = await receiver.sdk.subscribe("ticks", { autoAck: true });
  const inbox = receiver.sdk.inbox({ autoAck: true });
  const failovers: string[] = [];
  sender.sdk.on("failover", ({ from }) => failovers.push(from));
  const count = 200;
  const numbers = Array.from({ length: count }, (_, n) => n);
  const [published, sent]: [string[], string[]] = [[], []];
  const collect = async (consumer: Consumer, into: string[]): Promise<void> => {
    for await (const message of consumer) {
      into.push(message.text());
      if (into.length >= count) break;
    }
  };
  const collecting = Promise.all([collect(ticks, published), collect(inbox, sent)]);
  for (const n of numbers) {
    if (n === count / 2) await victim.kill("SIGKILL");
    await sender.sdk.publish("ticks", String(n));
    await sender.sdk.send(receiver.name, String(n));
  }
  await within(collecting, 90_000, `all of ${count}: ${published.length}, ${sent.length} came`);
  const texts = numbers.map(String);
  expect(published).toEqual(texts);
  expect(sent).toEqual(texts);
  expect(failovers).toContain(victim.smtp);
  await sender.sdk.drain({ deadlineMs: 60_000 });
});
