/** The broker of real members, by programs that have nothing but SMTP and POP3. */
import { beforeAll, expect, test } from "vitest";
import {
  type DataFrame,
  type MessageProperties,
  openPacket,
  readMail,
} from "../../src/ebm/index.js";
import { broker, control, Device, sendToRing } from "../support/ebm-device.js";
import type { Member } from "../support/member.js";
import { Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
let alice: Device;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2, args: ["--registration", "open"] });
  alice = new Device("alice");
  await alice.start(ring.member(0), "register", password);
}, 120_000);

type Properties = Omit<MessageProperties, "sentAtMs">;

function message(stream: string, sequence: number, properties: Properties): DataFrame {
  const octets = Buffer.from(`${stream} ${sequence}`);
  return {
    ...{ kind: "data", stream, sequence, id: `${stream}-${sequence}`, offset: 0, octets },
    ...{ size: octets.length, properties: { sentAtMs: Date.now(), ...properties } },
  };
}

const numbered = (stream: string, count: number, properties: Properties): DataFrame[] =>
  Array.from({ length: count }, (_, i) => message(stream, i + 1, properties));
const texts = (frames: readonly DataFrame[]): string[] =>
  frames.map(({ octets }) => octets.toString());

function publish(member: Member, frames: readonly DataFrame[]): Promise<string> {
  const mail = alice.mail(alice.seal(frames), broker);
  return sendToRing(member.smtp, mail, { to: broker });
}

/** As a client does: through whichever member takes it. */
async function publishFirmly(frames: readonly DataFrame[]): Promise<string> {
  let line = "";
  await waitUntil(
    async () => {
      for (const member of ring.running) {
        line = await publish(member, frames).catch((error: unknown) => String(error));
        if (line.startsWith("250")) return true;
      }
      return false;
    },
    { deadlineMs: 60_000, what: "the packet to be taken" },
  );
  return line;
}

interface Consumed {
  readonly uid: string;
  readonly frames: readonly DataFrame[];
}

/** One POP3 session: reads all it is shown; what `isDone` says is acknowledged. */
async function consume(
  member: Member,
  queue: string,
  isDone: (index: number) => boolean = () => true,
  onRead: (consumed: readonly Consumed[]) => void = () => undefined,
): Promise<readonly Consumed[]> {
  const client = await Pop3Client.login(member.pop3, `alice/queue/${queue}`, password, 60_000);
  try {
    const uids = await client.uidl();
    const mails = await client.all();
    const consumed = mails.map(({ bytes }, index) => {
      const { packet } = readMail(bytes);
      const { header, frames } = openPacket(packet ?? Buffer.alloc(0), Date.now());
      expect(header.from.user).toBe(control);
      const data = frames.filter((frame) => frame.kind === "data");
      return { uid: uids[index] ?? "", frames: data };
    });
    onRead(consumed);
    for (const [index] of mails.entries()) {
      if (isDone(index)) await client.expect(`DELE ${index + 1}`);
    }
    await client.quit();
    return consumed;
  } finally {
    client.destroy();
  }
}

const allOf = (consumed: readonly Consumed[]): string[] =>
  consumed.flatMap(({ frames }) => texts(frames));

const at = (node: number): Member => ring.member(node % 3);

test("an event reaches every queue that wants it; the reply counts the copies", async () => {
  await alice.ask(at(0), password, "declareExchange", { name: "news", type: "topic" });
  for (const [queue, key] of [
    ["sports", "sports.#"],
    ["all", "#"],
  ] as const) {
    await alice.ask(at(1), password, "declareQueue", { name: queue, exclusive: true });
    await alice.ask(at(2), password, "bind", { exchange: "news", queue, key });
  }
  const frames = [
    message("news", 1, { exchange: "news", routingKey: "sports.chess" }),
    message("news", 2, { exchange: "news", routingKey: "weather" }),
  ];
  const line = await publish(at(1), frames);
  expect(line).toMatch(/^250 2\.0\.0 ebm=taken n=\d+ routed=3 stored=[23]\/3$/);
  // The same again, in a packet of its own: taken, and not doubled.
  expect(await publish(at(2), frames)).toMatch(/^250 2\.0\.0 ebm=taken /);
  const early = [message("news", 4, { exchange: "news", routingKey: "x" })];
  expect(await publish(at(0), early)).toBe("451 4.3.0 ebm=early news:3");
  const [entry] = await consume(at(0), "all");
  expect(texts(entry?.frames ?? [])).toEqual(["news 1", "news 2"]);
  expect(entry?.frames[0]?.origin).toEqual({
    ...{ user: alice.user, device: alice.device, epoch: alice.epoch },
  });
  expect(allOf(await consume(at(2), "sports"))).toEqual(["news 1"]);
  expect(await consume(at(1), "all")).toEqual([]);
});

test("settled by mail, at whichever member", async () => {
  await alice.ask(at(0), password, "declareQueue", { name: "jobs" });
  expect(await publish(at(0), numbered("jobs", 3, { routingKey: "jobs" }))).toMatch(/^250 /);
  const consumed = await consume(at(1), "jobs", () => false);
  const [first = "", second = "", third = ""] = consumed.map(({ uid }) => uid);
  const settlement = {
    queue: "jobs",
    ack: [first],
    nack: [{ entry: second, delayMs: 0 }],
    reject: [third],
  };
  await alice.ask(at(2), password, "settle", settlement);
  expect(allOf(await consume(at(0), "jobs"))).toEqual(["jobs 2"]);
  expect(await alice.ask(at(1), password, "queueStatus", { name: "jobs" })).toEqual({
    ...{ ready: 0, delayed: 0, leased: 0, octets: 0 },
  });
  expect(await alice.ask(at(2), password, "redrive", { queue: "jobs" })).toEqual({ moved: 1 });
  expect(allOf(await consume(at(2), "jobs"))).toEqual(["jobs 3"]);
});

test("a subscriber that is gone stops nobody: its oldest messages are dead letters", async () => {
  await alice.ask(at(0), password, "declareExchange", { name: "busy", type: "fanout" });
  const bounds = { messagesMax: 4, overflow: "drop-oldest" } as const;
  await alice.ask(at(1), password, "declareQueue", { name: "absent", ...bounds });
  await alice.ask(at(2), password, "declareQueue", { name: "present" });
  for (const queue of ["absent", "present"]) {
    await alice.ask(at(0), password, "bind", { exchange: "busy", queue });
  }
  const frames = numbered("busy", 18, { exchange: "busy" });
  const present: string[] = [];
  for (let first = 0; first < frames.length; first += 3) {
    const line = await publishFirmly(frames.slice(first, first + 3));
    expect(line).toMatch(/ ebm=taken n=\d+ routed=6 /);
    present.push(...allOf(await consume(at(first), "present")));
  }
  const all = texts(frames);
  expect(present).toEqual(all);
  const dead: string[] = [];
  await waitUntil(
    async () => {
      const got = await consume(at(1), "absent.dead").catch((error: unknown) => {
        if (error instanceof Pop3Refused) return [];
        throw error;
      });
      dead.push(...allOf(got));
      return dead.length >= all.length - bounds.messagesMax;
    },
    { deadlineMs: 60_000, what: "what is too much to be dead" },
  );
  // By order of their coming; what died together may be read in two goes.
  expect([...dead].sort()).toEqual(all.slice(0, -bounds.messagesMax).sort());
  expect(allOf(await consume(at(2), "absent"))).toEqual(all.slice(-bounds.messagesMax));
}, 120_000);

test("who may not consume gets no further than a wrong password", async () => {
  await alice.ask(at(0), password, "declareQueue", { name: "secret" });
  await ring.addUsers(["bob"]);
  for (const name of ["bob/queue/secret", "bob/queue/none"]) {
    await expect(Pop3Client.login(at(1).pop3, name, password)).rejects.toThrow(Pop3Refused);
  }
});

test("members are killed while consumers compete: each message is there until acknowledged", async () => {
  await alice.ask(at(0), password, "declareQueue", { name: "work", leaseMs: 2_000 });
  const total = 60;
  const frames = numbered("work", total, { routingKey: "work" });
  expect(await publishFirmly(frames.slice(0, 30))).toMatch(/^250 /);
  const done = new Set<string>();
  /** Meant to be acknowledged in a session that broke: gone, or to come again. */
  const doubtful = new Set<string>();
  const again: string[] = [];
  const everyOther = (index: number): boolean => index % 2 === 0;
  const round = async (member: Member): Promise<void> => {
    let meant: readonly string[] = [];
    // A lease may run out under a consumer that is slow; then two have the same until one of them acknowledges.
    // Who comes only after the +OK to a QUIT is shown nothing that it acknowledged, whoever leads by then.
    const doneBefore = new Set(done);
    try {
      await consume(member, "work", everyOther, (consumed) => {
        again.push(...allOf(consumed).filter((text) => doneBefore.has(text)));
        meant = allOf(consumed.filter((_, index) => everyOther(index)));
      });
      for (const text of meant) done.add(text);
    } catch {
      for (const text of meant) doubtful.add(text);
    }
  };
  await round(at(0));
  for (const victim of [0, 1, 2]) {
    const member = at(victim);
    await member.kill();
    await Promise.all(ring.running.map(round));
    const from = 30 + victim * 10;
    await publishFirmly(frames.slice(from, from + 10));
    await member.restart();
    await ring.settled();
  }
  await waitUntil(
    async () => {
      await Promise.all(ring.running.map(round));
      const { ready, leased } = await alice.ask(at(0), password, "queueStatus", { name: "work" });
      return ready + leased === 0;
    },
    { deadlineMs: 60_000, what: "the queue to be empty" },
  );
  expect([...new Set([...done, ...doubtful])].sort()).toEqual(texts(frames).sort());
  expect(done.size).toBeGreaterThan(total / 2);
  // What was acknowledged was shown to nobody who came after that.
  expect(again).toEqual([]);
});
