/** What a program is told when it can't have what it asks for: `code` to decide by, and whether to try again. */
import { expect, test } from "vitest";
import { connect, RingpostError } from "../../src/sdk/index.js";
import { freeRingPort } from "../support/ports.js";
import { admin, password } from "../support/ring.js";
import { ringOfFile } from "../support/ring-scope.js";
import { SdkClients, take, texts } from "../support/sdk-clients.js";
import { within } from "../support/wait.js";

const ring = ringOfFile({ members: 3, args: ["--registration", "open"] });
const clients = new SdkClients(() => ring);

/** The error of what must fail, as `[code, retryable]`. */
async function refusal(doing: Promise<unknown>): Promise<readonly [string, boolean]> {
  const failure = await within(
    doing.then(
      () => undefined,
      (error: unknown) => error,
    ),
    90_000,
    "a refusal",
  );
  expect(failure).toBeInstanceOf(RingpostError);
  const { code, retryable, message } = failure as RingpostError;
  expect(message).not.toBe("");
  return [code, retryable];
}

test("who one is: bad password, no such user, a name that is taken, not logged in", async () => {
  const { sdk, name } = await clients.user("someone");
  const stranger = await clients.client();
  expect(await refusal(stranger.login({ user: name, password: "wrong" }))).toEqual([
    "denied",
    false,
  ]);
  const nobody = { user: "nobody-at-all", password };
  expect(await refusal(stranger.login(nobody))).toEqual(["denied", false]);
  const taken = stranger.register({ user: name, password: "other" });
  expect(await refusal(taken)).toEqual(["exists", false]);
  expect(await refusal(stranger.contacts.list())).toEqual(["loginNeeded", false]);
  const servers = [ring.entry.addr];
  const account = { user: name, password: "wrong" };
  expect(await refusal(connect({ servers, account }))).toEqual(["denied", false]);
  // Nobody is kept out by what others tried.
  await sdk.refresh();
});

test("whom one writes to: nobody of that name", async () => {
  const { sdk } = await clients.user("writer");
  expect(await refusal(sdk.resolve("nobody-at-all"))).toEqual(["unknown", false]);
  const { delivered } = await sdk.send("nobody-at-all", "hello?");
  expect(await refusal(delivered)).toEqual(["dead", false]);
  expect(await refusal(sdk.request("nobody-at-all", "hello?"))).toEqual(["dead", false]);
  const silent = await clients.user("silent");
  const request = sdk.request(silent.name, "hello?", { timeoutMs: 1_000 });
  expect(await refusal(request)).toEqual(["timeout", true]);
  silent.sdk.respond(() => Promise.reject(new Error("no such product")));
  const asked = sdk.request(silent.name, "and now?");
  expect(await refusal(asked)).toEqual(["failed", false]);
  await expect(asked).rejects.toThrow("no such product");
});

test("exchanges and queues: unknown, somebody else's, of another kind, malformed", async () => {
  const owner = await clients.user("owner");
  const other = await clients.user("other");
  const jobs = await owner.sdk.queue(`${owner.name}.jobs`);
  expect(await refusal(jobs.bind("nothing-of-that-name"))).toEqual(["unknown", false]);
  await owner.sdk.exchange(`${owner.name}.direct`, "direct");
  expect(await refusal(owner.sdk.exchange(`${owner.name}.direct`, "topic"))).toEqual([
    "exists",
    false,
  ]);
  expect(await refusal(owner.sdk.queue(jobs.name, { leaseMs: 5_000 }))).toEqual(["exists", false]);
  expect(await refusal(other.sdk.subscribe(`${owner.name}.direct`))).toEqual(["forbidden", false]);
  const theirs = await other.sdk.queue(`${other.name}.jobs`);
  expect(await refusal(theirs.bind(`${owner.name}.direct`))).toEqual(["forbidden", false]);
  expect(await refusal(owner.sdk.queue("No Such Name"))).toEqual(["malformed", false]);
  expect(await refusal(owner.sdk.send(other.name, "x", { stream: "two words" }))).toEqual([
    "malformed",
    false,
  ]);
  const { delivered } = await (await owner.sdk.queue(`${owner.name}.gone`)).send("kept");
  await delivered;
  await jobs.remove();
  expect(await refusal(jobs.status())).toEqual(["unknown", false]);
});

test("bounds: a full queue takes the message when there is room, and fails it at its TTL", async () => {
  const { sdk, name } = await clients.user("full");
  const jobs = await sdk.queue(`${name}.jobs`, { messagesMax: 1 });
  await (await jobs.send("first")).delivered;
  const late = await jobs.send("too late", { ttlMs: 2_000 });
  expect(await refusal(late.delivered)).toEqual(["dead", false]);
  const patient = await jobs.send("patient");
  expect(texts(await take(jobs.consume(), 2))).toEqual(["first", "patient"]);
  await patient.delivered;
});

test("bounds: a mailbox over its quota", async () => {
  const { sdk, name, id } = await clients.user("quota");
  const writer = await clients.user("writer");
  await admin(ring.entry.addr, "userQuota", { name, messages: 1 });
  expect(await sdk.mailbox.quota()).toMatchObject({ messages: 0, messagesMax: 1 });
  const mail = { to: [id], subject: "one", text: "two" };
  await writer.sdk.mailbox.send(mail);
  expect(await sdk.mailbox.quota()).toMatchObject({ messages: 1 });
  expect(await refusal(writer.sdk.mailbox.send(mail))).toEqual(["full", true]);
  const huge = await refusal(sdk.send(writer.name, Buffer.alloc(1024 ** 3 + 1)));
  expect(huge).toEqual(["full", false]);
});

test("nobody there: unreachable, soon, and to be tried again", async () => {
  const servers = [`127.0.0.1:${await freeRingPort()}`, `127.0.0.1:${await freeRingPort()}`];
  const account = { user: "alice", password };
  expect(await refusal(connect({ servers, account }))).toEqual(["unreachable", true]);
  expect(await refusal(connect({ servers: [] }))).toEqual(["malformed", false]);
  expect(await refusal(connect({ servers: ["http://ring.test"] }))).toEqual(["malformed", false]);
});

test("a handler whose answer can't be sent: who asked is told, and the next is answered", async () => {
  const asker = await clients.user("asker");
  const answerer = await clients.user("answerer");
  answerer.sdk.respond((question) =>
    question.text() === "nothing" ? (undefined as unknown as string) : "something",
  );
  const nothing = asker.sdk.request(answerer.name, "nothing");
  expect(await refusal(nothing)).toEqual(["failed", false]);
  await expect(nothing).rejects.toThrow("no JSON value");
  expect((await asker.sdk.request(answerer.name, "and now?")).text()).toBe("something");
});

test("a mail to two, one of them nobody: the other has it, and the sender is told", async () => {
  const writer = await clients.user("writer");
  const reader = await clients.user("reader");
  const to = [reader.id, "nobody-at-all@ring.test"];
  const sending = writer.sdk.mailbox.send({ to, subject: "both", text: "of you" });
  expect(await refusal(sending)).toEqual(["forbidden", false]);
  await expect(sending).rejects.toThrow(/not to nobody-at-all@ring\.test: 550 5\.1\.1/);
  expect(await reader.sdk.mailbox.list("inbox")).toMatchObject([{ subject: "both" }]);
});

test("a queue that is removed under its consumer: told as what it is, and served when it is back", async () => {
  const { sdk, name } = await clients.user("removed");
  const jobs = await sdk.queue(`${name}.jobs`);
  const gone = new Promise((resolve) => {
    sdk.on("deadLetter", resolve);
  });
  const taking = take(jobs.consume(), 1);
  await jobs.remove();
  expect(await within(gone, 60_000, "the failure")).toMatchObject({
    id: `queue:${jobs.name}`,
    code: "unknown",
  });
  await (await sdk.queue(jobs.name)).send("back");
  expect(texts(await taking)).toEqual(["back"]);
});

test("dead letters that there are none of yet are an empty queue", async () => {
  const { sdk, name } = await clients.user("none");
  const dead = (await sdk.queue(`${name}.jobs`)).deadLetters();
  expect(await dead.status()).toMatchObject({ ready: 0, leased: 0 });
});
