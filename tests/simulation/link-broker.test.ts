/** Publishing to a ring that takes packets in order, whose replies get lost, also through a foreign mail system. */
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { composeMail, type Frame, openPacket, readMail, sealPacket } from "../../src/ebm/index.js";
import { memoryFiles } from "../../src/sdk/journal/memory-files.js";
import { Journal } from "../../src/sdk/journal/journal.js";
import { createLink } from "../../src/sdk/link/link.js";
import type { Link, Submission } from "../../src/sdk/link/ports.js";
import { seeded } from "../../src/store/simulated-disk.js";
import { SimulatedTime } from "./link-clock.js";

const ring = "ring@ring.test";
const user = "ann@ring.test";
const { privateKey } = generateKeyPairSync("ed25519");

/** What `ring+data` does with the streams of one sender. */
class Ring {
  readonly taken: string[] = [];
  readonly #next = new Map<string, number>();
  readonly forbidden = new Set<string>();
  mails = 0;
  octets = 0;

  constructor(private readonly nowMs: () => number) {}

  take(mail: Buffer): { text: string; code: number; packet: number; connection: string } {
    this.mails += 1;
    this.octets += mail.length;
    const { header, frames } = openPacket(readMail(mail).packet ?? Buffer.alloc(0), this.nowMs());
    const { packet, connection } = header;
    const next = new Map(this.#next);
    const taken: string[] = [];
    for (const frame of frames) {
      if (frame.kind !== "data") continue;
      const expected = next.get(frame.stream) ?? 1;
      if (frame.sequence > expected) {
        return {
          code: 451,
          text: `4.3.0 ebm=early ${frame.stream}:${expected}`,
          packet,
          connection,
        };
      }
      const text = frame.octets.toString();
      if (this.forbidden.has(text))
        return { code: 550, text: "5.7.1 ebm=forbidden no", packet, connection };
      if (frame.sequence < expected) continue;
      taken.push(text);
      next.set(frame.stream, expected + 1);
    }
    for (const [stream, sequence] of next) this.#next.set(stream, sequence);
    this.taken.push(...taken);
    return {
      code: 250,
      text: `2.0.0 ebm=taken n=${packet} routed=1 stored=2/3`,
      packet,
      connection,
    };
  }
}

async function publish(options: {
  readonly seed: number;
  readonly isForeign: boolean;
  readonly fault: number;
  readonly count: number;
  readonly octets?: number;
  readonly forbidden?: readonly number[];
}) {
  const random = seeded(options.seed);
  const time = new SimulatedTime();
  const broker = new Ring(() => time.nowMs());
  for (const index of options.forbidden ?? []) broker.forbidden.add(bodyOf(index, options.octets));
  const dead: string[] = [];
  let link: Link | undefined;
  const wait = (ms: number) => new Promise<void>((resolve) => void time.after(ms, resolve));
  const answer = async (reply: ReturnType<Ring["take"]>): Promise<void> => {
    if (random() < options.fault) return;
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
    await wait(5 + random() * 20);
    if (random() < options.fault) return { kind: "none", why: "broken before" };
    const reply = broker.take(mail);
    if (options.isForeign) {
      void answer(reply);
      return { kind: "reply", code: 250, text: "2.0.0 queued as 17" };
    }
    if (random() < options.fault) return { kind: "none", why: "broken after" };
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
      deadLetter: ({ why }) => dead.push(why),
      failed: () => undefined,
    },
    { user, ring, pollMs: () => 1_000 },
  );
  const sending = link;
  for (let index = 0; index < options.count; index += 1) {
    time.after(random() * 2_000, () => {
      const body = Buffer.from(bodyOf(index, options.octets));
      void sending.send({ to: ring, stream: "main", properties: { routingKey: "orders" }, body });
    });
  }
  await time.run(time.nowMs() + 2_001);
  await time.run(time.nowMs() + 20 * 86_400_000, () => sending.undelivered === 0);
  const all = Array.from({ length: options.count }, (_, index) => bodyOf(index, options.octets));
  return { broker, dead, all, undelivered: sending.undelivered };
}

const bodyOf = (index: number, octets = 1): string => `${index} `.padEnd(octets, "abcdefg");

test.each([
  ["straight", false, 0],
  ["straight, replies lost", false, 0.3],
  ["through a foreign mail system", true, 0],
  ["through a foreign mail system, mails lost", true, 0.3],
])("%s: each is taken once", async (_, isForeign, fault) => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const { broker, all, dead, undelivered } = await publish({ seed, isForeign, fault, count: 60 });
    expect(undelivered).toBe(0);
    expect(dead).toEqual([]);
    expect([...broker.taken].sort()).toEqual([...all].sort());
  }
});

test.each([
  ["straight", false, 0],
  ["straight, replies lost", false, 0.3],
  ["through a foreign mail system", true, 0],
])("%s: what is refused is dead, and nothing but that", async (_, isForeign, fault) => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const forbidden = [3, 4, 17, 59];
    const told = await publish({ seed, isForeign, fault, count: 60, forbidden });
    expect(told.undelivered).toBe(0);
    expect(told.dead).toHaveLength(forbidden.length);
    for (const why of told.dead) expect(why).toContain("forbidden");
    const wanted = told.all.filter((_body, index) => !forbidden.includes(index));
    expect([...told.broker.taken].sort()).toEqual(wanted.sort());
  }
});

test("under load, small messages share mails, and the mails are hardly larger", async () => {
  const count = 2_000;
  const octets = 1_024;
  const { broker } = await publish({ seed: 1, isForeign: false, fault: 0, count, octets });
  expect(broker.taken).toHaveLength(count);
  expect(broker.mails / count).toBeLessThan(0.1);
  if (process.env["RINGPOST_FIGURES"]) {
    console.log({ mailsPerMessage: broker.mails / count, octetsPerMessage: broker.octets / count });
  }
});
