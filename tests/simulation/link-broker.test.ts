/** Publishing to a ring that takes packets in order, whose replies get lost, also through a foreign mail system. */
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import {
  composeMail,
  type Frame,
  openPacket,
  type Packet,
  readMail,
  sealPacket,
} from "../../src/ebm/index.js";
import { memoryFiles } from "../../src/sdk/journal/memory-files.js";
import { Journal } from "../../src/sdk/journal/journal.js";
import { createLink } from "../../src/sdk/link/link.js";
import type { Link, Submission } from "../../src/sdk/link/ports.js";
import { seeded } from "../../src/store/simulated-disk.js";
import { type Haste, SimulatedTime } from "./link-clock.js";

const ring = "ring@ring.test";
const user = "ann@ring.test";
const { privateKey } = generateKeyPairSync("ed25519");

interface Reply {
  readonly code: number;
  readonly text: string;
  readonly packet: number;
  readonly connection: string;
}

/** What `ring+data` does with the streams of one sender. */
class Ring {
  /** By stream, as the sender named it. */
  readonly taken = new Map<string, string[]>();
  readonly #next = new Map<string, number>();
  readonly forbidden = new Set<string>();
  /** It says which message of a packet it does not take. */
  isNaming = false;
  mails = 0;
  octets = 0;
  early = 0;

  constructor(
    private readonly time: SimulatedTime,
    /** Breaks off in the middle of a packet so often: it does not know what of it is done, or has no more room. */
    private readonly breaks: () => boolean,
    private readonly why: "undecided" | "full",
  ) {}

  get all(): string[] {
    return [...this.taken.values()].flat();
  }

  /** One that comes too early waits for its turn for so long. */
  async take(mail: Buffer, patienceMs: number): Promise<Reply> {
    this.mails += 1;
    this.octets += mail.length;
    const nowMs = this.time.nowMs();
    const opened = openPacket(readMail(mail).packet ?? Buffer.alloc(0), nowMs);
    for (;;) {
      const reply = this.#judge(opened);
      if (!reply.text.includes("ebm=early")) return reply;
      if (this.time.nowMs() >= nowMs + patienceMs) {
        this.early += 1;
        return reply;
      }
      await new Promise<void>((resolve) => void this.time.after(10, resolve));
    }
  }

  #judge({ header, frames }: Packet): Reply {
    const { packet, connection } = header;
    const answer = (code: number, text: string): Reply => ({ code, text, packet, connection });
    const next = new Map(this.#next);
    const taken: [stream: string, text: string, sequence: number][] = [];
    const dead = frames.flatMap((frame) => (frame.kind === "ack" ? (frame.dead ?? []) : []));
    const isDead = (stream: string, sequence: number) =>
      dead.some(([name, from, to = from]) => name === stream && from <= sequence && sequence <= to);
    for (const frame of frames) {
      if (frame.kind !== "data") continue;
      let expected = next.get(frame.stream) ?? 1;
      while (expected < frame.sequence && isDead(frame.stream, expected)) expected += 1;
      if (frame.sequence > expected) {
        return answer(451, `4.3.0 ebm=early ${frame.stream}:${expected}`);
      }
      const text = frame.octets.toString();
      if (this.forbidden.has(text)) {
        const { stream, sequence } = frame;
        const named = `tooLarge ${stream}:${sequence} it is forbidden`;
        return answer(550, `5.7.1 ebm=${this.isNaming ? named : "forbidden no"}`);
      }
      if (frame.sequence < expected) continue;
      taken.push([frame.stream, text, frame.sequence]);
      next.set(frame.stream, expected + 1);
    }
    const isBroken = this.breaks();
    const done = isBroken ? taken.slice(0, taken.length / 2) : taken;
    for (const [stream, text, sequence] of done) {
      this.#next.set(stream, sequence + 1);
      this.taken.set(stream, [...(this.taken.get(stream) ?? []), text]);
    }
    if (isBroken) return answer(this.why === "full" ? 452 : 451, `4.3.0 ebm=${this.why}`);
    return answer(250, `2.0.0 ebm=taken n=${packet} routed=1 stored=2/3`);
  }
}

async function publish(options: {
  readonly seed: number;
  readonly isForeign: boolean;
  readonly fault: number;
  /** A foreign mail system says that it has taken each mail, and nothing comes of it. */
  readonly isSilent?: boolean;
  /** How often there is no room for the rest of a packet. */
  readonly full?: number;
  readonly count: number;
  readonly octets?: number;
  readonly forbidden?: readonly number[];
  readonly isNaming?: boolean;
  /** How long what overtakes waits for its turn. */
  readonly patienceMs?: number;
  readonly streams?: number;
  readonly blockOctets?: number;
  /** Messages come in so many bursts. */
  readonly bursts?: number;
  /** Of each message: its time is over so long after it was sent. */
  readonly ttlMs?: number;
  readonly haste?: Haste;
}) {
  const random = seeded(options.seed);
  const time = new SimulatedTime(options.haste);
  const { fault, patienceMs = 2_000, streams = 1, blockOctets } = options;
  const { full } = options;
  const why = full === undefined ? "undecided" : "full";
  const broker = new Ring(time, () => random() < (full ?? fault / 3), why);
  broker.isNaming = options.isNaming === true;
  for (const index of options.forbidden ?? []) broker.forbidden.add(bodyOf(index, options.octets));
  const dead: string[] = [];
  const deadIds: string[] = [];
  const ids = new Map<string, string>();
  let link: Link | undefined;
  const wait = (ms: number) => new Promise<void>((resolve) => void time.after(ms, resolve));
  const air = { now: 0, most: 0 };
  const answer = async (packetMail: Buffer): Promise<void> => {
    const reply = await broker.take(packetMail, patienceMs);
    if (random() < fault) return;
    await wait(random() * 5_000);
    const { connection, packet, code, text } = reply;
    const [, stream, sequence] = /ebm=early (\S+):(\d+)/.exec(text) ?? [];
    const frame: Frame =
      code === 250
        ? {
            ...{ kind: "ack", connection, cumulative: 0, ranges: [[packet, packet]] },
            ...{ windowOctets: 1, pollMs: 1, consumed: {} },
          }
        : {
            ...{ kind: "nack", connection, packet, why: text },
            ...(stream !== undefined && { expected: { [stream]: Number(sequence) } }),
          };
    const header = {
      ...{ connection: "ring", packet: 0, from: { user: ring, device: "k", epoch: 0 }, to: user },
      expiresAtMs: time.nowMs() + 60_000,
    };
    const mail = composeMail({
      ...{ from: ring, to: user, messageId: "x@ring.test", date: new Date(time.nowMs()) },
      index: { connection, packet: 0, type: "acknowledgement" },
      packet: sealPacket({ header, frames: [frame], privateKey }),
    });
    await link?.receive(mail, `m${random()}`);
  };
  const submit = async (mail: Buffer): Promise<Submission> => {
    air.now += 1;
    air.most = Math.max(air.most, air.now);
    const submission = await carry(mail);
    air.now -= 1;
    return submission;
  };
  const carry = async (mail: Buffer): Promise<Submission> => {
    // Of those that are on their way together, any may be the first to come.
    await wait(5 + random() * 20);
    if (random() < fault) {
      // Whoever handed it in has gone; what was handed in may be worked off later all the same.
      const lateMs = random() * 2_000;
      if (random() < 0.5) void wait(lateMs).then(() => broker.take(mail, patienceMs));
      return { kind: "none", why: "broken before" };
    }
    if (options.isForeign) {
      if (options.isSilent !== true) void answer(mail);
      return { kind: "reply", code: 250, text: "2.0.0 queued as 17" };
    }
    const reply = await broker.take(mail, patienceMs);
    if (random() < fault) return { kind: "none", why: "broken after" };
    return { kind: "reply", ...reply };
  };
  const dice = (octets: number) =>
    Buffer.from(Array.from({ length: octets }, () => random() * 256));
  const journal = await Journal.open(
    { directory: "/ann", user },
    {
      ...{
        files: memoryFiles(),
        lock: () => Promise.resolve({ release: () => Promise.resolve() }),
      },
      ...{ nowMs: () => time.nowMs(), dice },
      newKey: () => privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
    },
  );
  link = createLink(
    journal,
    {
      ...{ clock: time, dice, ready: () => undefined, receipt: () => undefined },
      carrier: {
        submit: (outgoing) => submit(outgoing.mail({ from: user, to: ring, token: "t" })),
      },
      keyVerdict: () => Promise.resolve("theirs"),
      deadLetter: ({ id, why }) => {
        dead.push(why);
        deadIds.push(id);
      },
      failed: () => undefined,
    },
    { user, ring, pollMs: () => 1_000, ...(blockOctets !== undefined && { blockOctets }) },
  );
  const sending = link;
  const given = new Map<string, string[]>();
  for (let index = 0; index < options.count; index += 1) {
    const { bursts } = options;
    const burst = Math.floor(random() * (bursts ?? 0)) / (bursts ?? 1);
    const at = bursts === undefined ? random() : burst + random() / 50;
    time.after(at * 2_000, () => {
      const text = bodyOf(index, options.octets);
      const stream = `s${index % streams}`;
      given.set(stream, [...(given.get(stream) ?? []), text]);
      const expiresAtMs = time.nowMs() + (options.ttlMs ?? Infinity);
      const properties = {
        ...{ routingKey: "orders", priority: index % 3 },
        ...(options.ttlMs !== undefined && { expiresAtMs }),
      };
      const message = { to: ring, stream, properties, body: Buffer.from(text) };
      void sending.send(message).then(({ id }) => ids.set(id, text));
    });
  }
  await time.run(time.nowMs() + 2_101);
  const givenMs = time.nowMs();
  await time.run(givenMs + 20 * 86_400_000, () => sending.undelivered === 0);
  const tookMs = time.nowMs() - givenMs;
  // What was left behind on the way may still come.
  await time.run(time.nowMs() + 10_000);
  const all = Array.from({ length: options.count }, (_, index) => bodyOf(index, options.octets));
  const deadTexts = deadIds.map((id) => ids.get(id) ?? "");
  const undelivered = sending.undelivered;
  return { broker, dead, deadTexts, all, given, undelivered, mostInAir: air.most, tookMs };
}

const bodyOf = (index: number, octets = 1): string => `${index} `.padEnd(octets, "abcdefg");
const numberOf = (body: string): number => Number.parseInt(body, 10);

const ways: readonly [name: string, isForeign: boolean, fault: number][] = [
  ["straight", false, 0],
  ["straight, replies lost", false, 0.3],
  ["through a foreign mail system", true, 0],
  ["through a foreign mail system, mails lost", true, 0.3],
];

test.each(ways)("%s: each is taken once", async (_, isForeign, fault) => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const { broker, all, dead, undelivered } = await publish({ seed, isForeign, fault, count: 60 });
    expect(undelivered).toBe(0);
    expect(dead).toEqual([]);
    expect(broker.all.sort()).toEqual([...all].sort());
  }
});

test.each(ways)(
  "%s: nothing waits for ever, whenever the clock goes on",
  async (_, isForeign, fault) => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const haste = { lookMs: (seed % 20) / 20, earlyMs: (seed % 7) / 7 };
      const told = await publish({ seed, isForeign, fault, haste, count: 30, bursts: 10 });
      expect(told.undelivered).toBe(0);
      // Far longer than all that may be lost keeps it waiting, and less than a timer that is to be safe.
      expect(told.tookMs, `seed ${seed}`).toBeLessThan(fault === 0 ? 60_000 : 12 * 3_600_000);
    }
  },
);

test("what a foreign mail system took and nobody heard of again dies when its time is over", async () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const some = { seed, isForeign: true, isSilent: true, fault: 0, count: 5 };
    const told = await publish({ ...some, ttlMs: 3_600_000 });
    expect(told.undelivered).toBe(0);
    expect(told.deadTexts.sort()).toEqual([...told.all].sort());
    // It is not known between two tries, and those are at most six hours apart.
    expect(told.tookMs, `seed ${seed}`).toBeLessThan(7 * 3_600_000);
  }
});

test.each(ways.slice(0, 3))(
  "%s: what is refused is dead, and nothing but that",
  async (_, isForeign, fault) => {
    for (let seed = 1; seed <= 5; seed += 1) {
      const forbidden = [3, 4, 17, 59];
      const told = await publish({ seed, isForeign, fault, count: 60, forbidden });
      expect(told.undelivered).toBe(0);
      expect(told.dead).toHaveLength(forbidden.length);
      for (const why of told.dead) expect(why).toContain("forbidden");
      const wanted = told.all.filter((_body, index) => !forbidden.includes(index));
      expect(told.broker.all.sort()).toEqual(wanted.sort());
    }
  },
);

test.each(ways.slice(0, 3))(
  "%s: a ring that says which message it does not take need not be asked for each",
  async (_, isForeign, fault) => {
    const forbidden = [3, 4, 17, 59];
    const mails = { named: 0, unnamed: 0 };
    for (let seed = 1; seed <= 5; seed += 1) {
      for (const isNaming of [true, false]) {
        const octets = 1_024;
        const some = { seed, isForeign, fault, count: 60, octets, forbidden, isNaming };
        const told = await publish({ ...some, bursts: 1 });
        expect(told.undelivered).toBe(0);
        expect(told.deadTexts.sort()).toEqual(forbidden.map((index) => told.all[index]).sort());
        const wanted = told.all.filter((_body, index) => !forbidden.includes(index));
        expect(told.broker.all.sort()).toEqual(wanted.sort());
        mails[isNaming ? "named" : "unnamed"] += told.broker.mails;
      }
    }
    expect(mails.named).toBeLessThan(mails.unnamed / 2);
  },
);

/** Large enough for several packets on their way at a time. */
const crowd = { count: 300, octets: 8 * 1_024, bursts: 3, streams: 3 };
const seeds = Number(process.env["RINGPOST_SEEDS"] ?? 5);

test.each([
  ["waits for its turn", 2_000, 0],
  ["waits for its turn, replies lost", 2_000, 0.1],
  ["waits for its turn, most is lost", 2_000, 0.4],
  ["is sent away", 0, 0],
  ["is sent away, replies lost", 0, 0.1],
])(
  "what overtakes %s: all of each stream is taken once, in order",
  async (_, patienceMs, fault) => {
    let most = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const told = await publish({ seed, isForeign: false, fault, patienceMs, ...crowd });
      expect(told.undelivered).toBe(0);
      expect(told.dead).toEqual([]);
      expect(told.broker.taken).toEqual(told.given);
      if (fault === 0 && patienceMs > 0) expect(told.broker.early).toBe(0);
      most = Math.max(most, told.mostInAir);
    }
    if (fault === 0) expect(most).toBe(4);
  },
);

test("of a mail system between, one packet waits for its acknowledgement at a time", async () => {
  const told = await publish({ seed: 1, isForeign: true, fault: 0, ...crowd });
  expect(told.broker.taken).toEqual(told.given);
  expect(told.mostInAir).toBe(1);
});

test.each([
  ["what overtakes waits", 2_000, undefined],
  ["what overtakes is sent away", 0, undefined],
  // Each is given up by itself, and others are on their way behind it.
  ["each in a packet of its own", 2_000, 16 * 1_024],
])("%s: refused messages die, and nothing else", async (_, patienceMs, blockOctets) => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const forbidden = [3, 40, 41, 90, 119];
    const told = await publish({
      ...{ seed, isForeign: false, fault: 0.1, patienceMs, forbidden, ...crowd, count: 120 },
      ...(blockOctets !== undefined && { blockOctets }),
    });
    const wanted = told.all.filter((_body, index) => !forbidden.includes(index));
    expect(told.undelivered).toBe(0);
    expect(told.broker.all.sort()).toEqual(wanted.sort());
    expect(told.deadTexts.sort()).toEqual(forbidden.map((index) => told.all[index]).sort());
  }
});

test.each([
  ["where replies are lost", { fault: 0.4 }],
  ["where there is not always room", { fault: 0, full: 0.9 }],
])("what dies %s because its time is over takes nothing along", async (_, faults) => {
  for (let seed = 1; seed <= 2 * seeds; seed += 1) {
    const told = await publish({ seed, isForeign: false, ...faults, ttlMs: 3_000, ...crowd });
    expect(told.undelivered).toBe(0);
    // One whose reply was lost may be both: nobody knew.
    const ends = new Set([...told.broker.all, ...told.deadTexts].map(numberOf));
    expect([...ends].sort((a, b) => a - b)).toEqual(told.all.map(numberOf));
    for (const [stream, given] of told.given) {
      const taken = (told.broker.taken.get(stream) ?? []).map(numberOf);
      expect(taken).toEqual(given.map(numberOf).filter((number) => taken.includes(number)));
    }
  }
});

test("under load, small messages share mails, and the mails are hardly larger", async () => {
  const count = 2_000;
  const octets = 1_024;
  const { broker } = await publish({ seed: 1, isForeign: false, fault: 0, count, octets });
  expect(broker.all).toHaveLength(count);
  expect(broker.mails / count).toBeLessThan(0.1);
  if (process.env["RINGPOST_FIGURES"]) {
    console.log({ mailsPerMessage: broker.mails / count, octetsPerMessage: broker.octets / count });
  }
});
