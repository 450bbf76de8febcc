import { describe, expect, test } from "vitest";
import { ebmBounds, type DataFrame, openPacket, readMail } from "../../ebm/index.js";
import type { BodyDigest, MailboxName } from "../../shared/ids.js";
import { AnswerError } from "./answers.js";
import { controlLimits, elsewhereLimits, registrationLimits, unprovenLimits } from "./limits.js";
import { ControlWorld, ring, TestDevice } from "./testing.js";

const user = "ann@ring.test";
const config = `${user}/config` as MailboxName;

async function started(settings?: ConstructorParameters<typeof ControlWorld>[0]) {
  const world = new ControlWorld(settings);
  const ann = new TestDevice(world, user);
  expect(await ann.start("register")).toEqual({ code: 250, status: "2.0.0", text: "ebm=ok id=q1" });
  return { world, ann };
}

const data = (sequence: number): DataFrame => ({
  ...{ kind: "data" as const, stream: "s", sequence, id: "m1", offset: 0, size: 1 },
  ...{ properties: { sentAtMs: 1, routingKey: "q" }, octets: Buffer.from("x") },
});

describe("a question", () => {
  test("is answered in the maildrop of the user's programs, signed by the ring", async () => {
    const { world, ann } = await started();
    expect(await ann.ask("quota", {})).toMatchObject({ code: 451 });
    world.mail.usage.set(user as MailboxName, { octets: 7, messages: 1 });
    expect(await ann.ask("quota", {})).toMatchObject({ code: 250 });
    const packet = world.packetsIn(config).at(-1);
    expect(packet?.header).toMatchObject({ packet: 0, to: user, from: { user: ring, epoch: 0 } });
    expect(packet?.frames).toEqual([
      { kind: "configuration", id: "q1", body: { ok: true, answer: { octets: 7, messages: 1 } } },
    ]);
  });

  test("is done once, whatever comes between the rounds of an agreement", async () => {
    const { world, ann } = await started();
    const mail = ann.question("addContact", { user: "bob@ring.test" });
    expect(await world.take(mail)).toMatchObject({ code: 250 });
    expect(await world.take(mail)).toMatchObject({ code: 550 });
  });

  test("about leases may come twice", async () => {
    const { world, ann } = await started();
    const mail = ann.question("settle", { queue: "q", ack: ["0".repeat(32)] });
    const before = world.packetsIn(config).length;
    expect(await world.take(mail)).toMatchObject({ code: 250 });
    expect(await world.take(mail)).toMatchObject({ code: 250 });
    // The reply has said it: nothing is put into the maildrop that nobody would fetch.
    expect(world.packetsIn(config)).toHaveLength(before);
  });

  test("about leases of several queues is answered in one line, which names what is not done", async () => {
    const { world, ann } = await started();
    const entry = "0".repeat(32);
    const settlements = ["a", "b", "c"].map((queue) => ({ queue, ack: [entry] }));
    world.settles = { done: [true, true, true] };
    expect((await ann.ask("settle", { settlements })).text).toBe("ebm=ok id=q1");
    world.settles = { done: [true, false, false] };
    const before = world.packetsIn(config).length;
    expect(await ann.ask("settle", { settlements })).toEqual({
      ...{ code: 250, status: "2.0.0", text: "ebm=partly id=q1 done=100" },
    });
    expect(world.packetsIn(config)).toHaveLength(before);
    expect(world.settled).toEqual([{ settlements }, { settlements }]);
  });

  test("about leases of as many queues as there may be has a reply that fits a line", async () => {
    const { world, ann } = await started();
    const { settlementsMax } = ebmBounds;
    const of = (count: number) => ({
      settlements: Array.from({ length: count }, (_, n) => ({ queue: `q${n}` })),
    });
    world.settles = { done: Array<boolean>(settlementsMax).fill(false) };
    const { text } = await ann.ask("settle", of(settlementsMax));
    // RFC 5321 §4.5.3.1.5: 512 octets with the code, the status and CRLF; an id has up to 128.
    expect(text.length + 128).toBeLessThan(490);
    expect((await ann.ask("settle", of(settlementsMax + 1))).text).toMatch(/^ebm=malformed /);
  });

  test.each<[string, object]>([
    ["one that is not understood", { settlements: [{ queue: "a" }, { queue: "b", ack: [7] }] }],
    ["one without a queue", { settlements: [{ queue: "a" }, { ack: [] }] }],
    ["a settlement that is a list", { settlements: [["a"]] }],
    ["no list", { settlements: { queue: "a" } }],
  ])("about leases of several queues is refused as a whole for %s", async (_, ask) => {
    const { world, ann } = await started();
    const reply = await ann.ask("settle", ask as never);
    expect(reply).toMatchObject({ code: 550, status: "5.7.1" });
    expect(reply.text).toMatch(/^ebm=malformed /);
    expect(world.settled).toEqual([]);
  });

  test("about one queue and about several is never both", async () => {
    const { world, ann } = await started();
    const both = { queue: "a", settlements: [{ queue: "b" }] };
    await ann.ask("settle", both as never);
    expect(world.settled).toEqual([{ queue: "a" }]);
  });

  test("is put off while too few members answer", async () => {
    const { world, ann } = await started();
    world.mail.registers.silent.add(`ebm:${user}`);
    const reply = await ann.ask("listContacts", {});
    expect(reply).toMatchObject({ code: 451, status: "4.3.0" });
    expect(reply.text).toMatch(/^ebm=undecided /);
  });

  test("of a device that has logged out is refused, although its token were good", async () => {
    const { world, ann } = await started();
    const other = new TestDevice(world, user);
    world.nowMs += 1;
    await other.start("login");
    const record = world.mail.registers.values.get(`id:${user}`) as { devices: unknown[] };
    expect(record.devices).toHaveLength(2);
    await ann.ask("logout", {});
    world.nowMs += 5_001;
    await other.start("login");
    ann.token = other.token;
    expect((await ann.ask("listContacts", {})).text).toMatch(/not on record/);
    expect(await other.ask("listContacts", {})).toMatchObject({ code: 250 });
  });
});

describe("what is kept", () => {
  test("has its bounds, and is refused beyond them", async () => {
    const world = new ControlWorld();
    for (let n = 0; n < 3; n += 1) {
      expect((await world.take(Buffer.from(`Subject: ${n}\r\n\r\n`))).text).toMatch(/^ebm=kept /);
    }
    expect(await world.middleware.kept.list()).toHaveLength(3);
    const { keptMessagesMax: messages, keptOctetsMax: octets } = controlLimits;
    for (const usage of [
      { octets: 1, messages },
      { octets, messages: 1 },
    ]) {
      world.mail.usage.set(ring as MailboxName, usage);
      world.nowMs += 5_001;
      const reply = await world.take(Buffer.from("Subject: one too many\r\n\r\n"));
      expect(reply).toMatchObject({ code: 452, status: "4.2.2" });
      expect(reply.text).toMatch(/^ebm=full /);
    }
    expect(await world.middleware.kept.list()).toHaveLength(3);
  });

  test("comes from a network no more often than it may, but users are not kept out by it", async () => {
    const { world, ann } = await started();
    const junk = Buffer.from("Subject: junk\r\n\r\n");
    const replies: number[] = [];
    for (let n = 0; n < unprovenLimits.perNetwork + 5; n += 1) {
      replies.push((await world.take(junk)).code);
    }
    // The registration was one of them.
    expect(replies.filter((code) => code === 250)).toHaveLength(unprovenLimits.perNetwork - 1);
    expect(replies.slice(-5)).toEqual([451, 451, 451, 451, 451]);
    expect(await ann.ask("listContacts", {})).toMatchObject({ code: 250 });
    expect(await world.take(junk, { clientAddress: "192.0.2.2" })).toMatchObject({ code: 250 });
    const known = { user: user as MailboxName };
    expect(await world.take(junk, known)).toMatchObject({ code: 250 });
    world.nowMs += unprovenLimits.windowMs;
    expect(await world.take(junk)).toMatchObject({ code: 250 });
  });

  test.each([
    ["a stranger's question", "control", undefined, controlLimits.strangerOctetsMax],
    ["a user's question", "control", user as MailboxName, controlLimits.userOctetsMax],
    ["a stranger's data", "broker", undefined, controlLimits.strangerBrokerOctetsMax],
    ["a user's data", "broker", user as MailboxName, controlLimits.brokerOctetsMax],
  ] as const)("%s has a size", async (_, part, from, max) => {
    const world = new ControlWorld();
    const take = (octets: number) =>
      world.take(Buffer.alloc(octets, "x"), { part, ...(from && { user: from }) });
    expect(await take(max + 1)).toMatchObject({ code: 552, status: "5.3.4" });
    expect(await take(max)).not.toMatchObject({ status: "5.3.4" });
  });

  test("a stranger's packet of the usual size fits", () => {
    expect(controlLimits.strangerBrokerOctetsMax).toBeGreaterThan(1.4 * ebmBounds.blockOctets);
  });
});

test("a file is removed, whatever becomes of the mail", async () => {
  const world = new ControlWorld();
  const fileOf = (path: string, octets: number) =>
    ({ kind: "file", digest: "0".repeat(64) as BodyDigest, octets, path }) as const;
  world.files.set("/junk", Buffer.from("Subject: x\r\n\r\n"));
  await world.take(Buffer.alloc(0), { body: fileOf("/junk", 14) });
  await world.take(Buffer.alloc(0), { body: fileOf("/large", 10 ** 9) });
  await world.take(Buffer.alloc(0), { part: "broker", body: fileOf("/missing", 10) });
  expect(world.removedFiles).toEqual(["/junk", "/large", "/missing"]);
});

test("forged mail is logged, but not without end", async () => {
  const { world, ann } = await started();
  ann.token = "none";
  const replies: number[] = [];
  for (let n = 0; n < unprovenLimits.perNetwork + 5; n += 1) {
    replies.push((await ann.ask("listContacts", {})).code);
  }
  expect(replies.slice(0, 10)).toEqual(Array(10).fill(550));
  expect(replies.slice(-5)).toEqual(Array(5).fill(451));
  const lines = world.logged.filter((line) => line.includes("the session token is not valid"));
  expect(lines).toHaveLength(unprovenLimits.perNetwork - 1);
});

describe("answers that nobody fetches", () => {
  const old = (world: ControlWorld, count: number) => {
    const drop = world.drops.get(config) ?? [];
    const [one] = drop;
    if (!one) throw new Error("no answer");
    world.setDrop(
      config,
      Array.from({ length: count }, () => ({ ...one })),
    );
  };

  test("make room when there are too many, the oldest first", async () => {
    const { world, ann } = await started();
    old(world, controlLimits.answersMax);
    world.nowMs += 10_000;
    expect(await ann.ask("listContacts", {})).toMatchObject({ code: 250 });
    expect(world.drops.get(config)).toHaveLength(controlLimits.answersKept + 1);
    expect(world.drops.get(config)?.at(-1)?.receivedAtMs).toBe(world.nowMs);
  });

  test("stay while a client reads them: then it is told that there are too many", async () => {
    const { world, ann } = await started();
    old(world, controlLimits.answersMax);
    world.nowMs += 10_000;
    world.inUse.add(config);
    const reply = await ann.ask("listContacts", {});
    expect(reply).toMatchObject({ code: 452, status: "4.2.2" });
    expect(reply.text).toMatch(/^ebm=full /);
  });

  test("are dropped by the next login after an hour", async () => {
    const { world, ann } = await started();
    old(world, 60);
    world.nowMs += controlLimits.answerMs + 1;
    expect(await ann.start("login")).toMatchObject({ code: 250 });
    expect(world.drops.get(config)).toHaveLength(1);
  });
});

describe("a user whose mail account is elsewhere", () => {
  const address = "ann@mail.test";

  test("is refused where the ring sends no mail, before there is an account", async () => {
    const world = new ControlWorld();
    const ann = new TestDevice(world, user, [address]);
    expect((await ann.start("register")).text).toMatch(/^ebm=forbidden .*ann\+data@ring\.test/);
    expect(world.mail.registers.values.has(`account:${user}`)).toBe(false);
  });

  test("is told by mail which of several settlements are done", async () => {
    const world = new ControlWorld({ reachesElsewhere: true });
    const ann = new TestDevice(world, user, [address]);
    await ann.start("register");
    world.settles = { done: [false, true] };
    await ann.ask("settle", { settlements: [{ queue: "a" }, { queue: "b" }] });
    const { packet } = readMail(world.sent.at(-1)?.octets ?? Buffer.alloc(0));
    const { frames } = openPacket(packet ?? Buffer.alloc(0), world.nowMs);
    const body = { ok: true, answer: { done: [false, true] } };
    expect(frames).toEqual([{ kind: "configuration", id: "q1", body }]);
  });

  test("is answered there, of refusals too when they are proven", async () => {
    const world = new ControlWorld({ reachesElsewhere: true });
    const ann = new TestDevice(world, user, [address]);
    await ann.start("register");
    expect(world.sent.map(({ to }) => to)).toEqual([address]);
    expect((await ann.ask("resolve", { user: "nobody@ring.test" })).text).toMatch(/^ebm=unknown /);
    expect(world.sent).toHaveLength(2);
    ann.token = "x";
    expect((await ann.ask("listContacts", {})).text).toMatch(/^ebm=denied /);
    expect(world.sent).toHaveLength(2);
  });

  test("who names somebody else's address can't flood it by questions", async () => {
    const world = new ControlWorld({ reachesElsewhere: true });
    const ann = new TestDevice(world, user, ["victim@mail.test"]);
    await ann.start("register");
    const codes: number[] = [];
    for (let n = 0; n < elsewhereLimits.perNetwork + 5; n += 1) {
      codes.push((await ann.ask("listContacts", {})).code);
    }
    expect(world.sent).toHaveLength(elsewhereLimits.perNetwork);
    expect(codes.slice(-6)).toEqual(Array(6).fill(451));
  });

  test("is told by mail what became of a packet for the broker", async () => {
    const world = new ControlWorld({ reachesElsewhere: true });
    const ann = new TestDevice(world, user, [address]);
    await ann.start("register");
    const frames = () => {
      const packet = readMail(world.sent.at(-1)?.octets ?? Buffer.alloc(0)).packet;
      return openPacket(packet ?? Buffer.alloc(0), world.nowMs).frames;
    };
    const reply = await world.take(ann.seal([data(1)]), { part: "broker" });
    expect(reply.text).toBe(`ebm=taken n=${ann.packet} routed=2 stored=2/3`);
    expect(frames()).toMatchObject([{ kind: "ack", ranges: [[ann.packet, ann.packet]] }]);
    world.publishes = { kind: "early", expected: { s: 3 } };
    const early = await world.take(ann.seal([data(5)]), { part: "broker" });
    expect(early).toMatchObject({ code: 451, text: "ebm=early s:3" });
    expect(frames()).toMatchObject([{ kind: "nack", packet: ann.packet, expected: { s: 3 } }]);
  });
});

describe("the broker", () => {
  test("gets what a proven sender publishes, and nobody else's", async () => {
    const { world, ann } = await started();
    // Such a packet may wait for days on its way.
    const late = { expiresAtMs: world.nowMs + 5 * 86_400_000 };
    const reply = await world.take(ann.seal([data(1)], late), { part: "broker" });
    expect(reply).toMatchObject({ code: 250 });
    expect(world.published).toHaveLength(1);
    expect(world.sent).toHaveLength(0);
    const other = new TestDevice(world, user);
    other.token = ann.token;
    expect(await world.take(other.seal([data(1)]), { part: "broker" })).toMatchObject({
      code: 550,
    });
    world.publishes = { kind: "refused", code: "full", why: "the queue is full" };
    expect(await world.take(ann.seal([data(2)]), { part: "broker" })).toEqual({
      ...{ code: 452, status: "4.2.2", text: "ebm=full the queue is full" },
    });
    expect(world.published).toHaveLength(2);
  });

  test("is seen by the operator to send packets away, or to take long", async () => {
    const { world, ann } = await started();
    const lines = (): [string, object][] =>
      world.logged.map((line) => {
        const at = line.indexOf(" {");
        return [line.slice(0, at), JSON.parse(line.slice(at)) as object];
      });
    const who = { part: "broker", user, device: expect.any(String) as string };
    world.publishes = { kind: "early", expected: { s: 2 } };
    await world.take(ann.seal([data(3)]), { part: "broker" });
    expect(lines().at(-1)).toMatchObject([
      "a mail to the ring is to come again",
      { ...who, packet: ann.packet, reply: "ebm=early" },
    ]);
    world.publishes = { kind: "taken", routed: 1, copies: 2, copiesWanted: 3 };
    world.publishesForMs = 12_000;
    await world.take(ann.seal([data(2)]), { part: "broker" });
    expect(lines().at(-1)).toMatchObject([
      "a mail to the ring was answered late",
      { ...who, packet: ann.packet, reply: "ebm=taken", tookMs: 12_000 },
    ]);
  });

  test("can't send elsewhere what nobody takes there", async () => {
    const { world } = await started();
    const to = { user, address: "ann@mail.test" };
    await expect(world.answers?.send(to, [])).rejects.toThrow(AnswerError);
  });
});

test("new accounts from one network have a bound", async () => {
  const world = new ControlWorld();
  const register = (n: number, clientAddress: string) => {
    const device = new TestDevice(world, `user${n}@ring.test`);
    const ask = { password: "pw", record: device.record() };
    return device.ask("register", ask, { clientAddress });
  };
  for (let n = 0; n < registrationLimits.perNetwork; n += 1) {
    expect(await register(n, "2001:db8::1")).toMatchObject({ code: 250 });
  }
  const more = registrationLimits.perNetwork;
  expect((await register(more, "2001:db8::ffff:1")).text).toMatch(/^ebm=throttled /);
  expect(await register(more, "2001:db8:0:1::1")).toMatchObject({ code: 250 });
});
