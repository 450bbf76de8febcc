/** A program that ends and comes back goes on where it was: it sends again what nobody acknowledged, and no more. */
import { randomBytes } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { openPacket, readMail } from "../../src/ebm/index.js";
import { memoryFiles } from "../../src/sdk/journal/memory-files.js";
import type { Journal } from "../../src/sdk/journal/journal.js";
import type { InboundMessage, Link, Outgoing, Submission } from "../../src/sdk/link/ports.js";
import { bareLink, ring } from "./link-bare.js";
import { SimulatedTime } from "./link-clock.js";

const [ann, bob] = ["ann@ring.test", "bob@ring.test"];
const blockOctets = 64 * 1_024;
const queued: Submission = { kind: "reply", code: 250, text: "2.0.0 queued" };

let time: SimulatedTime;
beforeEach(() => void (time = new SimulatedTime()));

/** A program of a user: its processes share its files, and what they are to do with what they submit. */
class Program {
  files = memoryFiles();
  submit: (outgoing: Outgoing) => Promise<Submission> = () => Promise.resolve(queued);
  #life: { link: Link; journal: Journal } | undefined;

  constructor(
    readonly user: string,
    private readonly compactFromOctets: number,
  ) {}

  get link(): Link {
    if (!this.#life) throw new Error("it does not run");
    return this.#life.link;
  }

  async start(): Promise<void> {
    const { user, files, compactFromOctets } = this;
    const submit = (outgoing: Outgoing): Promise<Submission> => this.submit(outgoing);
    const link = { blockOctets, windowOctets: 2 ** 30 };
    this.#life = await bareLink({ user, time, files, submit, link, compactFromOctets });
  }

  async stop(): Promise<void> {
    this.link.close();
    await this.#life?.journal.close();
  }
}

const mailOf = (outgoing: Outgoing): Buffer =>
  outgoing.mail({ from: ann, to: outgoing.to, token: "t" });

/** Octets of messages in a mail. */
function dataOctets(mail: Buffer): number {
  const { packet } = readMail(mail);
  const { frames } = openPacket(packet ?? Buffer.alloc(0), time.nowMs());
  return frames.reduce((sum, frame) => sum + (frame.kind === "data" ? frame.octets.length : 0), 0);
}

/** Ann's mails come to Bob, but for those in `lost`, and Bob's to Ann, each second. */
async function exchange(
  from: Program,
  to: Program,
  options: { readonly lost?: (n: number) => boolean; readonly until: () => boolean },
): Promise<{ readonly octets: number; readonly ms: number }> {
  const startMs = time.nowMs();
  const drops = new Map<Program, Buffer[]>([from, to].map((program) => [program, []]));
  let [count, octets] = [0, 0];
  from.submit = (outgoing) => {
    const mail = mailOf(outgoing);
    octets += dataOctets(mail);
    if (options.lost?.(count++) !== true) drops.get(to)?.push(mail);
    return Promise.resolve(queued);
  };
  to.submit = (outgoing) => {
    drops.get(from)?.push(mailOf(outgoing));
    return Promise.resolve(queued);
  };
  while (!options.until() && time.nowMs() < startMs + 3_600_000) {
    await time.run(time.nowMs() + 1_000);
    for (const [program, mails] of drops) {
      for (const mail of mails.splice(0)) await program.link.receive(mail, "1");
      program.link.polled();
    }
  }
  return { octets, ms: time.nowMs() - startMs };
}

const body = randomBytes(1024 * 1024 - 7);
const send = (program: Program, to = bob) =>
  program.link.send({ to, stream: "main", properties: { routingKey: "q" }, body });

test.each([
  ["read from its journal", 2 ** 30],
  ["read from a journal that was written anew", 1],
])("a large message goes on where it was acknowledged, %s", async (_, compactFromOctets) => {
  const [sender, receiver] = [new Program(ann, compactFromOctets), new Program(bob, 2 ** 30)];
  await Promise.all([sender.start(), receiver.start()]);
  await send(sender);
  const isMiddle = (n: number): boolean => n >= 4 && n < 8;
  const before = await exchange(sender, receiver, {
    lost: (n) => isMiddle(n) || n >= 12,
    until: () => time.nowMs() > 1_700_000_005_000,
  });
  expect(before.octets).toBe(body.length);
  await sender.stop();
  await sender.start();
  let taken: readonly InboundMessage[] = [];
  const isThere = (): boolean => (taken = receiver.link.take(1)).length > 0;
  const after = await exchange(sender, receiver, { until: isThere });
  expect((await taken[0]?.body())?.equals(body)).toBe(true);
  // Eight blocks of sixteen had come.
  expect(after.octets / body.length).toBeGreaterThan(0.45);
  expect(after.octets / body.length).toBeLessThan(0.55);
});

test("what was acknowledged by a receiver that lost its store goes again", async () => {
  const [sender, receiver] = [new Program(ann, 1), new Program(bob, 1)];
  await Promise.all([sender.start(), receiver.start()]);
  await send(sender);
  await exchange(sender, receiver, {
    lost: (n) => n >= 12,
    until: () => time.nowMs() > 1_700_000_005_000,
  });
  await Promise.all([sender.stop(), receiver.stop()]);
  receiver.files = memoryFiles();
  await time.run(time.nowMs() + 60_000);
  await Promise.all([sender.start(), receiver.start()]);
  // It hears of it, and ends before it has sent all of it again.
  const untilMs = time.nowMs() + 5_000;
  await exchange(sender, receiver, { lost: (n) => n >= 1, until: () => time.nowMs() > untilMs });
  await sender.stop();
  await sender.start();
  let taken: readonly InboundMessage[] = [];
  await exchange(sender, receiver, { until: () => (taken = receiver.link.take(1)).length > 0 });
  expect((await taken[0]?.body())?.equals(body)).toBe(true);
});

test("the ring is sent what it has not taken", async () => {
  const sender = new Program(ann, 1);
  await sender.start();
  const offsets: number[] = [];
  let most = 5;
  sender.submit = (outgoing) => {
    const { frames } = openPacket(readMail(mailOf(outgoing)).packet ?? body, time.nowMs());
    for (const frame of frames) if (frame.kind === "data") offsets.push(frame.offset);
    most -= 1;
    if (most < 0) return Promise.resolve({ kind: "none", why: "the connection broke" });
    const text = "2.0.0 ebm=taken n=1 routed=1 stored=2/3";
    return Promise.resolve({ kind: "reply", code: 250, text });
  };
  await send(sender, ring);
  await time.run(time.nowMs() + 2_000);
  await sender.stop();
  const next = offsets.toSorted((a, b) => a - b)[5];
  expect(next).toBeGreaterThan(4 * (blockOctets - 1_024));
  offsets.length = 0;
  most = Infinity;
  await sender.start();
  await time.run(time.nowMs() + 60_000, () => sender.link.undelivered === 0);
  expect(sender.link.undelivered).toBe(0);
  expect(Math.min(...offsets)).toBe(next);
});

test("a restarted program waits as long for an acknowledgement as these took before", async () => {
  const [sender, receiver] = [new Program(ann, 1), new Program(bob, 1)];
  await Promise.all([sender.start(), receiver.start()]);
  const small = Buffer.from("hello");
  const message = { to: bob, stream: "main", properties: {}, body: small };
  const isDelivered = (): boolean => sender.link.undelivered === 0;
  for (let n = 0; n < 10; n += 1) {
    await sender.link.send(message);
    await exchange(sender, receiver, { until: isDelivered });
  }
  const lostFirst = { lost: (n: number) => n === 0, until: isDelivered };
  await sender.link.send(message);
  const { ms: knownMs } = await exchange(sender, receiver, lostFirst);
  await sender.stop();
  await sender.start();
  await sender.link.send(message);
  const { ms } = await exchange(sender, receiver, lostFirst);
  expect(ms).toBeLessThanOrEqual(2 * knownMs);
});
