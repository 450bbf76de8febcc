/** Sessions of the SDK against a ring of three: logging out, tokens that end, signals, another server. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect, type Message } from "../../src/sdk/index.js";
import { admin, password } from "../support/ring.js";
import { ringOfFile } from "../support/ring-scope.js";
import { SdkClients, take, texts } from "../support/sdk-clients.js";
import { temporaryFolder } from "../support/temporary.js";
import { waitUntil, within } from "../support/wait.js";

const stores = temporaryFolder("sdk");
const ring = ringOfFile({ members: 3, args: ["--registration", "open"] });
const clients = new SdkClients(() => ring);

test("logout: nobody is logged in, the device counts for nothing, and messages wait", async () => {
  const peer = await clients.user("peer");
  const store = join(stores, "leaver");
  const { sdk, name, id } = await clients.user("leaver", { store });
  const before = await peer.sdk.resolve(name);
  expect(before.devices).toHaveLength(1);

  await sdk.logout();
  expect(sdk.user).toBeUndefined();
  await expect(sdk.send(peer.name, "anonymous")).rejects.toMatchObject({ code: "loginNeeded" });
  expect(() => sdk.inbox()).toThrow(expect.objectContaining({ code: "loginNeeded" }));
  const asker = await clients.user("asker", { first: ring.member(2) });
  // A member that could not be told knows it 5 s later; a client, when it asks anew.
  const resolved = async () => (await clients.login(asker.name)).resolve(name);
  await waitUntil(async () => (await resolved()).loggedOut !== undefined, {
    deadlineMs: 60_000,
    what: "the directory to tell of it",
  });
  // The address stays: it is where messages wait.
  expect(await resolved()).toMatchObject({
    addresses: before.addresses,
    loggedOut: before.devices.map(({ device }) => device),
  });
  await (await asker.sdk.send(name, "for later")).accepted;

  await sdk.login({ user: name, password });
  expect(sdk.user).toBe(id);
  expect(texts(await take(sdk.inbox(), 1))).toEqual(["for later"]);
  // The same device again, and believed again.
  const late = await clients.user("late");
  late.sdk.inbox();
  const { devices, loggedOut } = await late.sdk.resolve(name);
  expect([devices, loggedOut]).toEqual([before.devices, undefined]);
  await (await sdk.send(late.name, "back")).delivered;
});

test("logout of one program: another goes on by itself, and hides the first no more than it is", async () => {
  const first = await clients.user("two");
  const second = await clients.login(first.name, { first: ring.member(1) });
  const peer = await clients.user("peer");
  const inbox = peer.sdk.inbox();
  await waitUntil(
    async () =>
      (await clients.user("asker")).sdk
        .resolve(first.name)
        .then(({ devices }) => devices.length === 2),
    { deadlineMs: 60_000, what: "both devices on record" },
  );
  await first.sdk.logout();
  // Its token is void: it logs in again by itself, whatever it does next.
  await within(
    (await second.send(peer.name, "still here")).delivered.catch((error: unknown) => error),
    60_000,
    "peer",
  );
  await second.contacts.add({ user: peer.name });
  expect(texts(await take(inbox, 1))).toEqual(["still here"]);
  const asker = await clients.user("asker");
  const { devices, loggedOut } = await asker.sdk.resolve(first.name);
  expect([devices.length, loggedOut]).toEqual([1, undefined]);
});

test("a token that is void: whatever is done next works after a login that nobody has to ask for", async () => {
  const leaver = await clients.user("void");
  const stays = await clients.login(leaver.name);
  const peer = await clients.user("peer");
  const jobs = await stays.queue(`${leaver.name}.jobs`);
  const inbox = stays.inbox();
  await leaver.sdk.logout();
  const [sent, published, pushed] = await Promise.all([
    stays.send(peer.name, "to a peer"),
    stays.publish(`${leaver.name}.event`, "to an event"),
    jobs.send("to a queue"),
    stays.mailbox.send({ to: [peer.id], subject: "mail", text: "to people" }),
  ]);
  await within(
    Promise.all([sent.accepted, published.delivered, pushed.delivered]),
    60_000,
    "all to be taken",
  );
  expect(await peer.sdk.mailbox.list("inbox")).toMatchObject([{ subject: "mail" }]);
  expect(texts(await take(jobs.consume(), 1))).toEqual(["to a queue"]);
  await peer.sdk.send(leaver.name, "and back");
  expect(texts(await take(inbox, 1))).toEqual(["and back"]);
});

test("a password that has changed meanwhile: denied, and no message is given up for it", async () => {
  const leaver = await clients.user("changed");
  const stays = await clients.login(leaver.name);
  const peer = await clients.user("peer");
  const dead: string[] = [];
  stays.on("deadLetter", ({ id }) => dead.push(id));
  const changed = { name: leaver.name, password: "another password" };
  await admin(ring.entry.addr, "userPasswd", changed);
  await expect(stays.contacts.list()).rejects.toMatchObject({ code: "denied", retryable: false });
  const event = `${leaver.name}.event`;
  const receipt = await stays.send(peer.name, "waits");
  await expect(stays.publish(event, "x")).rejects.toMatchObject({ code: "denied" });
  await stays.login({ user: leaver.name, password: "another password" });
  await within(receipt.accepted, 60_000, "what waited");
  expect(dead).toEqual([]);
});

test("signals: connect, consume, request and send end when they are aborted", async () => {
  const { sdk, name } = await clients.user("aborter");
  const over = AbortSignal.abort();
  const servers = [ring.entry.addr];
  const account = { user: name, password };
  await expect(connect({ servers, account, signal: over })).rejects.toMatchObject({
    code: "closed",
    retryable: false,
  });
  await expect(sdk.send(name, "no", { signal: over })).rejects.toThrow(/abort/i);

  const [consuming, asking, all] = [1, 2, 3].map(() => new AbortController());
  const client = await connect({ servers, account, signal: all?.signal as AbortSignal });
  clients.keep(client);
  const loops = [
    sdk.inbox({ signal: consuming?.signal as AbortSignal }),
    (await sdk.queue(`${name}.jobs`)).consume({ signal: consuming?.signal as AbortSignal }),
    client.inbox(),
  ].map((consumer) => take(consumer, 1));
  const request = sdk.request("nobody-answers", "?", { signal: asking?.signal as AbortSignal });
  asking?.abort(new Error("enough"));
  await expect(request).rejects.toThrow(/enough/);
  consuming?.abort();
  all?.abort();
  expect(await within(Promise.all(loops), 30_000, "all loops to end")).toEqual([[], [], []]);
  await expect(client.send(name, "no")).rejects.toMatchObject({ code: "closed" });
  await expect(client.request(name, "no")).rejects.toMatchObject({ code: "closed" });
});

test("the three-line client, exactly as README prints it", async () => {
  const { name } = await clients.user("readme");
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, code = ""] =
    /```ts\nimport \{ connect \} from "ringpost\/sdk";\n([^`]*)```/.exec(readme) ?? [];
  expect(code.trim().split("\n")).toHaveLength(2);
  const printed = code
    .replace('"127.0.0.1:5000"', JSON.stringify(ring.entry.addr))
    .replace('"alice"', JSON.stringify(name))
    .replace('"news"', JSON.stringify(`${name}.news`));
  const reader = await clients.user("reader");
  const consumer = await reader.sdk.subscribe(`${name}.news`);
  const AsyncFunction = (async () => undefined).constructor as new (
    ...words: string[]
  ) => (...values: unknown[]) => Promise<unknown>;
  const run = new AsyncFunction("connect", "password", `${printed}\nreturn ring;`);
  const client = (await run(connect, password)) as Awaited<ReturnType<typeof connect>>;
  clients.keep(client);
  const [message] = (await take(consumer, 1)) as [Message];
  expect([message.text(), message.from]).toEqual(["hello", `${name}@ring.test`]);
});

test("a server that is killed: the next one has the next message at once", async () => {
  const victim = ring.member(2);
  const receiver = await clients.user("receiver", { first: ring.member(0) });
  const sender = await clients.user("sender", { first: victim });
  await (await sender.sdk.send(receiver.name, "before")).accepted;
  const turned: { from: string; atMs: number }[] = [];
  sender.sdk.on("failover", ({ from }) => turned.push({ from, atMs: Date.now() }));
  await victim.kill("SIGKILL");
  const killedAtMs = Date.now();
  await (await sender.sdk.send(receiver.name, "after")).accepted;
  const acceptedMs = Date.now() - killedAtMs;
  expect(turned[0]?.from).toBe(victim.smtp);
  // A second is the goal, which `bench:middleware` measures; a busy machine is given more.
  expect(acceptedMs).toBeLessThan(30_000);
  expect(texts(await take(receiver.sdk.inbox(), 2))).toEqual(["before", "after"]);
  await victim.restart();
});

test("a program without a store that consumes nothing takes nothing from those that do", async () => {
  const { sdk: sender } = await clients.user("sender");
  const name = clients.name("reader");
  await ring.addUsers([name]);
  const passing = await clients.login(name);
  const letter = await sender.send(name, "a letter", { stream: "letters" });
  const chat = await (await sender.chats.open(name)).send("a line");
  await Promise.all([letter.accepted, chat.accepted]);
  // Its acknowledgement lies behind them in the same maildrop: what it might have taken, it has seen by then.
  const echo = sender.inbox();
  const note = await passing.send(sender.user ?? "", "not for long");
  expect(texts(await take(echo, 1))).toEqual(["not for long"]);
  await within(note.consumed, 60_000, "the passing program to hear of its own message");
  await passing.close();

  const reader = await clients.login(name);
  expect(texts(await take(reader.inbox(), 1))).toEqual(["a letter"]);
  await within(letter.consumed, 60_000, "the receipt");
  const lines = async () => (await reader.chats.open(sender.user ?? "")).messages;
  await waitUntil(async () => (await lines()).length === 1, {
    deadlineMs: 60_000,
    what: "the line",
  });
  expect((await lines()).map(({ text }) => text)).toEqual(["a line"]);
});
