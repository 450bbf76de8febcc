/**
 * Programs whose accounts are on a foreign mail system, Postfix and Dovecot: a ring is their directory and
 * broker, and they reach it, and each other, by nothing but that account.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connect, type Delivery, type Queue, type Ringpost } from "../../src/sdk/index.js";
import { type ForeignMail, foreignMailMissing } from "../support/foreign-mail.js";
import { startBeside } from "../support/foreign-ring.js";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, sendMail } from "../support/smtp-client.js";
import { waitUntil, within } from "../support/wait.js";

const missing = foreignMailMissing();
if (missing !== undefined) process.stderr.write(`no foreign mail system: ${missing}\n`);
const scope = ringScope("file");
const poll = { minMs: 100, maxMs: 500 };
const deadlineMs = 45_000;
let ring: Ring;
let foreign: ForeignMail;
const clients: Ringpost[] = [];

beforeAll(async () => {
  if (missing !== undefined) return;
  const args = ["--relay-rate", "5000", "--registration", "open"];
  ({ ring, foreign } = await startBeside(scope, { users: ["carol"], args }));
});

afterEach(async ({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`${foreign.log().slice(-6_000)}\n`);
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
afterAll(() => foreign?.stop());

async function connectForeign(
  name: string,
  more: { readonly register?: boolean; readonly password?: string } = {},
): Promise<Ringpost> {
  const mail = {
    address: `${name}@foreign.test`,
    ...{ smtp: foreign.smtp, pop3: foreign.pop3, username: name, password: foreign.password },
  };
  const account = { user: name, password, ring: `ring@${domain}`, mail, ...more };
  const client = await connect({ servers: [], account, poll });
  clients.push(client);
  return client;
}

async function connectRing(user: string): Promise<Ringpost> {
  const { smtp, submission, pop3 } = ring.entry;
  const servers = [{ smtp, submission, pop3 }];
  const client = await connect({ servers, account: { user, password }, poll });
  clients.push(client);
  return client;
}

const withinDeadline = <T>(promise: Promise<T>, what: string): Promise<T> =>
  within(promise, deadlineMs, what);

async function next(messages: AsyncIterator<Delivery>, what: string): Promise<Delivery> {
  const { value, done } = await withinDeadline(messages.next(), what);
  if (done === true) throw new Error(`the end came before ${what}`);
  return value;
}

describe.skipIf(missing !== undefined)("programs with accounts elsewhere", () => {
  test("register by mail, and are known to the directory where they answer", async () => {
    const ann = await connectForeign("ann", { register: true });
    expect(ann.user).toBe(`ann@${domain}`);
    const bob = await connectForeign("bob", { register: true });
    expect((await ann.resolve("bob")).addresses).toEqual(["bob@foreign.test"]);
    expect((await bob.resolve("ann")).addresses).toEqual(["ann@foreign.test"]);
  });

  test("a wrong password is told, though the ring answers no stranger by mail", async () => {
    const trying = connectForeign("ann", { password: "not hers" });
    await expect(withinDeadline(trying, "the refusal")).rejects.toMatchObject({ code: "denied" });
  });

  test("send to each other, past the ring, with receipts; ordinary mail stays where it is", async () => {
    const note = Buffer.from("Subject: lunch?\r\n\r\nnot for a program\r\n");
    await sendMail(foreign.smtp, { from: "bob@foreign.test", to: ["ann@foreign.test"] }, note);
    const [ann, bob] = await Promise.all(["ann", "bob"].map((name) => connectForeign(name)));
    if (!ann || !bob) throw new Error("nobody");
    const [atAnn, atBob] = [ann, bob].map((one) => one.inbox()[Symbol.asyncIterator]());
    if (!atAnn || !atBob) throw new Error("no inbox");
    const there = await ann.send("bob", { text: "hello" });
    const got = await next(atBob, "ann's message");
    expect([got.from, got.json()]).toEqual([`ann@${domain}`, { text: "hello" }]);
    await got.ack();
    await withinDeadline(there.consumed, "bob's receipt");
    const back = await bob.send("ann", "hello yourself");
    const answer = await next(atAnn, "bob's message");
    expect([answer.from, answer.text()]).toEqual([`bob@${domain}`, "hello yourself"]);
    await answer.ack();
    await withinDeadline(back.consumed, "ann's receipt");
    const left = await fetchAll(foreign.pop3, "ann", foreign.password);
    expect(left.map(({ bytes }) => bytes.toString()).join()).toContain("not for a program");
    expect(carried("ann@foreign.test") * carried("bob@foreign.test")).toBeGreaterThan(0);
  });

  test("publish to a subscriber of the ring: each once, in order, acknowledged by mail", async () => {
    const [ann, carol] = await Promise.all([connectForeign("ann"), connectRing("carol")]);
    await ann.createEvent("weather");
    const consumer = await carol.subscribe("weather", { key: "north.*" });
    const receipts = [];
    for (let n = 0; n < 20; n += 1) {
      const key = n % 4 === 3 ? "south.rain" : "north.rain";
      receipts.push(await ann.publish("weather", String(n), { key }));
    }
    const wanted = Array.from({ length: 20 }, (_, n) => n).filter((n) => n % 4 !== 3);
    const messages = consumer[Symbol.asyncIterator]();
    const seen: number[] = [];
    while (seen.length < wanted.length) {
      const delivery = await next(messages, `message ${seen.length} of the event`);
      expect(delivery.from).toBe(`ann@${domain}`);
      seen.push(Number(delivery.text()));
      await delivery.ack();
    }
    expect(seen).toEqual(wanted);
    const delivered = Promise.all(receipts.map((receipt) => receipt.delivered));
    await withinDeadline(delivered, "the ring's acknowledgement");
  });
});

describe.skipIf(missing !== undefined)("queues are pushed to accounts elsewhere", () => {
  test("an event, published by one of them: each once, in order, acknowledged by mail", async () => {
    const [ann, bob] = await Promise.all([connectForeign("ann"), connectForeign("bob")]);
    await bob.createEvent("news");
    const consumer = await ann.subscribe("news", { key: "eu.#" });
    const keys = ["eu.de", "us", "eu.fr.paris"];
    for (let n = 0; n < 30; n += 1) {
      await bob.publish("news", String(n), { key: keys[n % 3] ?? "" });
    }
    const wanted = Array.from({ length: 30 }, (_, n) => n).filter((n) => n % 3 !== 1);
    const messages = consumer[Symbol.asyncIterator]();
    const seen: number[] = [];
    while (seen.length < wanted.length) {
      const delivery = await next(messages, `message ${seen.length} of the event`);
      expect([delivery.from, delivery.exchange]).toEqual([`bob@${domain}`, "news"]);
      seen.push(Number(delivery.text()));
      await delivery.ack();
    }
    expect(seen).toEqual(wanted);
    await ann.unsubscribe("news");
  });

  test("a queue: what is not acknowledged comes again when its lease is over, and what is does not", async () => {
    const options = { leaseMs: 2_000 };
    const [ann, bob] = await Promise.all([connectForeign("ann"), connectForeign("bob")]);
    const jobs = await bob.queue("jobs", { ...options, publishers: "everyone" });
    const byAnn = ann.queue("jobs", { ...options, publishers: "everyone" });
    await Promise.all(["one", "two"].map(async (text) => (await byAnn).send(text)));
    const first = jobs.consume()[Symbol.asyncIterator]();
    const got = [await next(first, "a job"), await next(first, "another job")];
    expect(got.map((job) => job.text()).sort()).toEqual(["one", "two"]);
    expect(got.map((job) => job.redelivered)).toEqual([0, 0]);
    const [done, lost] = got;
    await done?.ack();
    // The program ends with the other one in hand, and says nothing.
    await bob.close();
    const again = await connectForeign("bob");
    const queue = await again.queue("jobs", { ...options, publishers: "everyone" });
    const second = queue.consume()[Symbol.asyncIterator]();
    const job = await next(second, "the job that was not done");
    expect([job.text(), job.redelivered >= 1]).toEqual([lost?.text(), true]);
    await job.ack();
    await withinDeadline(untilEmpty(queue), "the queue to be empty");
  });

  test("nack and reject, by mail: again at once, and to the dead letters, which are pushed as well", async () => {
    const ann = await connectForeign("ann");
    const queue = await ann.queue("poison");
    await queue.send("bad");
    const messages = queue.consume()[Symbol.asyncIterator]();
    await (await next(messages, "it")).nack();
    const again = await next(messages, "it again");
    expect([again.text(), again.redelivered]).toEqual(["bad", 1]);
    await again.reject("poison");
    await withinDeadline(untilEmpty(queue), "the queue to be empty");
    const dead = queue.deadLetters().consume()[Symbol.asyncIterator]();
    expect((await next(dead, "the dead letter")).text()).toBe("bad");
    expect(await queue.redrive()).toBe(1);
    const back = await next(messages, "it back from the dead");
    expect(back.text()).toBe("bad");
    await back.ack();
    await withinDeadline(untilEmpty(queue), "the queue to be empty");
  });
});

describe.skipIf(missing !== undefined)("users of the ring and users elsewhere", () => {
  test("send to each other, with receipts both ways", async () => {
    const [ann, carol] = await Promise.all([connectForeign("ann"), connectRing("carol")]);
    const atAnn = ann.inbox()[Symbol.asyncIterator]();
    const atCarol = carol.inbox()[Symbol.asyncIterator]();
    const out = await carol.send("ann", { text: "out of the ring" });
    const got = await next(atAnn, "carol's message");
    expect([got.from, got.json()]).toEqual([`carol@${domain}`, { text: "out of the ring" }]);
    await got.ack();
    await withinDeadline(out.consumed, "ann's receipt");
    const back = await ann.send("carol", "into it");
    const answer = await next(atCarol, "ann's message");
    expect([answer.from, answer.text()]).toEqual([`ann@${domain}`, "into it"]);
    await answer.ack();
    await withinDeadline(back.consumed, "carol's receipt");
    expect(foreign.log()).toMatch(/from=<carol(\+data)?@ring\.test>/);
  });

  test("ordinary mail of a user of the ring gets through, and a report when it does not", async () => {
    const client = await SmtpClient.connect(ring.member(1).submission);
    await client.expect(250, "EHLO client.test");
    const login = Buffer.from(`\0carol\0${password}`).toString("base64");
    await client.expect(235, `AUTH PLAIN ${login}`);
    const mail = Buffer.from("Subject: hello\r\nMessage-ID: <1@client.test>\r\n\r\nhello ann\r\n");
    const to = ["ann@foreign.test", "nobody@foreign.test"];
    const sent = await client.send({ from: `carol@${domain}`, to }, mail);
    expect(sent).toMatchObject({ stored: true });
    await client.quit();
    const arrived = async () =>
      (await fetchAll(foreign.pop3, "ann", foreign.password)).find(({ bytes }) =>
        bytes.toString().includes("hello ann"),
      );
    const patience = { deadlineMs, everyMs: 500 };
    const { bytes } = await waitUntil(arrived, { ...patience, what: "carol's mail" });
    expect(bytes.toString()).toContain(`Return-Path: <carol@${domain}>`);
    const reports = async () => {
      const mails = await fetchAll(ring.member(0).pop3, "carol", password);
      return mails
        .map((each) => each.bytes.toString())
        .find((text) => /^Action: failed/m.test(text));
    };
    const report = await waitUntil(reports, { ...patience, what: "the report" });
    expect(report).toMatch(/^Final-Recipient: rfc822; ?nobody@foreign\.test/m);
    expect(report).toMatch(/^Status: 5\.1\.1/m);
  });
});

async function untilEmpty(queue: Queue): Promise<void> {
  await waitUntil(
    async () => {
      const { ready, leased, delayed } = await queue.status();
      return ready + leased + delayed === 0;
    },
    { deadlineMs, what: "the queue to be empty", everyMs: 200 },
  );
}

/** Mails of an account to another, not to the ring, that Postfix says it has delivered. */
function carried(from: string): number {
  const lines = foreign.log().split("\n");
  const sent = lines.filter((line) => line.includes(`from=<${from}>`));
  const ids = sent.flatMap((line) => /: ([0-9A-F]{6,}): from=/.exec(line)?.[1] ?? []);
  const isPeer = (line: string): boolean =>
    line.includes("@foreign.test>, relay=virtual") && line.includes("status=sent");
  return lines.filter((line) => isPeer(line) && ids.some((id) => line.includes(id))).length;
}
