/** Queues that are pushed to owners whose mail account is elsewhere: leased, settled by mail, and never lost. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type {
  ConfigurationAnswer,
  DataFrame,
  QueueOptions,
  QueueStatus,
} from "../../src/ebm/index.js";
import { openPacket, readMail } from "../../src/ebm/index.js";
import { connect, type Queue, type Ringpost } from "../../src/sdk/index.js";
import { Device, sendToRing } from "../support/ebm-device.js";
import { Pop3Client } from "../support/pop3-client.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { FakeSmartHost, type TakenMail } from "../support/smart-host.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
const host = new FakeSmartHost();
const patience = { deadlineMs: 60_000, everyMs: 50 };
let ring: Ring;
let carol: Ringpost;
let serial = 0;
let ann: Owner;

interface Entry {
  readonly entry: string;
  readonly text: string;
  readonly redelivered: number;
}

/** Somebody who answers at an address elsewhere, as a program on the wire. */
class Owner {
  readonly device: Device;
  readonly address: string;

  constructor(readonly name: string) {
    this.device = new Device(name);
    this.address = `${name}@else.test`;
  }

  async start(): Promise<void> {
    await ring.addUsers([this.name]);
    await this.device.start(ring.member(0), "login", password);
    await this.moveTo(this.address);
  }

  async moveTo(address: string): Promise<void> {
    const version = Date.now() + 1_000 * ++serial;
    await this.ask("announce", { record: this.device.record({ addresses: [address], version }) });
  }

  /** Its id; what is asked is done. */
  async ask(...[operation, ask]: Parameters<Device["question"]>): Promise<string> {
    const { id, mail } = this.device.question(operation, ask);
    const [member] = ring.running;
    const line = await sendToRing(member?.smtp ?? "", mail);
    expect(line).toBe(`250 2.0.0 ebm=ok id=${id}`);
    return id;
  }

  async statusOf(name: string): Promise<QueueStatus> {
    const id = await this.ask("queueStatus", { name });
    const body = await waitUntil(
      () =>
        this.packets()
          .flatMap(({ frames }) => frames)
          .find((f) => "id" in f && f.id === id),
      { ...patience, what: "an answer" },
    );
    const answer = (body as { body: ConfigurationAnswer }).body;
    if (!answer.ok) throw new Error(JSON.stringify(answer));
    return answer.answer as QueueStatus;
  }

  async untilEmpty(queue: string): Promise<void> {
    await waitUntil(
      async () => {
        const { ready, leased, delayed } = await this.statusOf(queue);
        return ready + leased + delayed === 0;
      },
      { ...patience, what: "the queue to be empty" },
    );
  }

  private packets(mails: readonly TakenMail[] = host.taken) {
    const own = mails.filter(({ to }) => to === this.address);
    return own.map(({ octets }) =>
      openPacket(readMail(octets).packet ?? Buffer.alloc(0), Date.now()),
    );
  }

  /** Of each mail that was pushed, in order. */
  pushed(queue: string, mails: readonly TakenMail[] = host.taken): readonly (readonly Entry[])[] {
    const packets = this.packets(mails).filter(({ header }) => header.to === `queue:${queue}`);
    return packets.map(({ header, frames }) => {
      expect(header.from.user).toBe("ring@ring.test");
      return (frames as readonly DataFrame[]).map(({ entry = "", octets, redelivered = 0 }) => ({
        ...{ entry, redelivered, text: octets.toString() },
      }));
    });
  }

  async untilPushed(queue: string, mails: number): Promise<readonly Entry[]> {
    const what = `mail ${mails} of ${queue}`;
    return await waitUntil(() => this.pushed(queue)[mails - 1], { ...patience, what });
  }
}

beforeAll(async () => {
  await host.start();
  const args = ["--relay", host.addr, "--relay-retry", "1"];
  ring = await scope.start({ members: 3, replicas: 2, args });
  await ring.addUsers(["carol"]);
  const servers = ring.members.map(({ smtp, submission, pop3 }) => ({ smtp, submission, pop3 }));
  carol = await connect({ servers, account: { user: "carol", password } });
});

afterAll(async () => {
  await carol.close();
  await host.stop();
});

beforeEach(async () => {
  host.treat = () => "take";
  host.taken.length = 0;
  host.tries.length = 0;
  ann = new Owner(`ann-${++serial}`);
  await ann.start();
});

afterEach(() => {
  host.treat = () => "take";
});

/** Of ann's, into which carol writes. */
async function queueOf(name: string, options: QueueOptions = {}): Promise<Queue> {
  const all = { publishers: "everyone", ...options } as const;
  await ann.ask("declareQueue", { name, push: true, ...all });
  return await carol.queue(name, all);
}

async function fill(queue: Queue, count: number): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, n) => `${queue.name} ${n}`);
  const sent = await Promise.all(texts.map((text) => queue.send(text)));
  await Promise.all(sent.map(({ delivered }) => delivered));
  return texts;
}

const idsOf = (entries: readonly Entry[]): string[] => entries.map(({ entry }) => entry);

test("so many at a time, in few mails: more come when these are settled, and none comes twice", async () => {
  const name = `jobs-${serial}`;
  const texts = await fill(await queueOf(name), 100);
  const seen: string[] = [];
  for (let mails = 1; seen.length < texts.length; mails += 1) {
    const entries = await ann.untilPushed(name, mails);
    expect(entries.length).toBeLessThanOrEqual(32);
    expect(entries.every(({ redelivered }) => redelivered === 0)).toBe(true);
    // All others are settled: no more than these are on their way.
    const onTheWay = ann
      .pushed(name)
      .slice(mails - 1)
      .flat();
    expect(onTheWay.length).toBeLessThanOrEqual(32);
    seen.push(...onTheWay.map(({ text }) => text));
    mails = ann.pushed(name).length;
    await ann.ask("settle", { queue: name, ack: idsOf(onTheWay) });
  }
  await ann.untilEmpty(name);
  expect(seen.sort()).toEqual([...texts].sort());
  expect(ann.pushed(name).length).toBeLessThan(texts.length / 2);
});

test("in order where that was promised: an exclusive queue has one mail on its way", async () => {
  const name = `log-${serial}`;
  const texts: string[] = [];
  const queue = await queueOf(name, { exclusive: true });
  texts.push(...(await fill(queue, 5)));
  const first = await ann.untilPushed(name, 1);
  for (let n = 5; n < 12; n += 1) {
    texts.push(`${name} ${n}`);
    await (await queue.send(`${name} ${n}`)).delivered;
  }
  expect(ann.pushed(name)).toHaveLength(1);
  const seen = [...first];
  await ann.ask("settle", { queue: name, ack: [...new Set(idsOf(first))] });
  for (let mails = 2; seen.length < texts.length; mails += 1) {
    const entries = await ann.untilPushed(name, mails);
    seen.push(...entries);
    await ann.ask("settle", { queue: name, ack: [...new Set(idsOf(entries))] });
  }
  expect(seen.map(({ text }) => text)).toEqual(texts);
  await ann.untilEmpty(name);
});

test("not acknowledged: sent again when the lease is over, later each time, until it is", async () => {
  const name = `slow-${serial}`;
  const atMs: number[] = [];
  host.treat = ({ octets, to }) => {
    if (to === ann.address && octets.includes(`"t":"d"`)) atMs.push(performance.now());
    return "take";
  };
  const [text] = await fill(await queueOf(name, { leaseMs: 1_000 }), 1);
  const [third] = await ann.untilPushed(name, 3);
  expect(third).toMatchObject({ text, redelivered: 2 });
  expect(
    ann
      .pushed(name)
      .flat()
      .map(({ redelivered }) => redelivered),
  ).toEqual([0, 1, 2]);
  const [first = 0, second = 0, last = 0] = atMs;
  // Only how long it is at least, but for what a mail takes.
  expect(second - first).toBeGreaterThan(800);
  expect(last - second).toBeGreaterThan(1_800);
  await ann.ask("settle", { queue: name, ack: [third?.entry ?? ""] });
  await ann.untilEmpty(name);
});

test("the smart host refuses it for good: tried again, and then a dead letter, not lost", async () => {
  const name = `bad-${serial}`;
  const isPushed = ({ octets }: TakenMail) => octets.includes(`"t":"d"`);
  host.treat = (mail) => (isPushed(mail) ? "550 5.1.1 no such user" : "take");
  // A lease longer than the test: it comes back since it was refused.
  const queue = await queueOf(name, { leaseMs: 600_000, deliveriesMax: 2 });
  await fill(queue, 1);
  await waitUntil(async () => (await deadOf(name)) === 1, { ...patience, what: "a dead letter" });
  const tries = ann.pushed(name, host.tries).flat();
  expect(tries.map(({ redelivered }) => redelivered)).toEqual([0, 1]);
  await ann.untilEmpty(name);
  host.treat = () => "take";
  await ann.ask("redrive", { queue: name });
  const [back] = await ann.untilPushed(name, 1);
  expect(back?.text).toBe(`${name} 0`);
});

async function deadOf(queue: string): Promise<number> {
  // It is made with the first dead letter.
  const { id, mail } = ann.device.question("queueStatus", { name: `${queue}.dead` });
  const line = await sendToRing(ring.entry.smtp, mail);
  if (line.includes("ebm=unknown")) return 0;
  expect(line).toContain(`ebm=ok id=${id}`);
  return (await ann.statusOf(`${queue}.dead`)).ready;
}

test("SIGKILL of the member that pushes: what was not settled comes again, by another one", async () => {
  const name = `killed-${serial}`;
  const texts = await fill(await queueOf(name, { leaseMs: 600_000 }), 40);
  const first = await ann.untilPushed(name, 1);
  const leads = `"queue":"${name}","entries"`;
  const leader = ring.running.find((member) => member.tail(2_000).includes(leads));
  if (leader === undefined) throw new Error("nobody leads the queue");
  const [half = [], mailsBefore] = [first.slice(0, 10), ann.pushed(name).length];
  await ann.ask("settle", { queue: name, ack: idsOf(half) });
  await leader.kill("SIGKILL");
  const done = new Set(half.map(({ text }) => text));
  for (let mails = mailsBefore + 1; done.size < texts.length; mails += 1) {
    const entries = await ann.untilPushed(name, mails);
    for (const { text } of entries) done.add(text);
    await ann.ask("settle", { queue: name, ack: idsOf(entries) });
  }
  await ann.untilEmpty(name);
  expect([...done].sort()).toEqual([...texts].sort());
  const acked = new Set(idsOf(half));
  const later = ann.pushed(name).slice(mailsBefore).flat();
  expect(later.filter(({ entry, redelivered }) => acked.has(entry) && redelivered === 0)).toEqual(
    [],
  );
  await leader.restart();
});

test("the owner comes home: the queue is not pushed any more, and fetched as any other", async () => {
  const name = `home-${serial}`;
  await ann.moveTo(`${ann.name}+data@ring.test`);
  const queue = await queueOf(name);
  await ann.ask("declareQueue", { name, publishers: "everyone" });
  await fill(queue, 3);
  const session = await Pop3Client.login(
    ring.member(1).pop3,
    `${ann.name}/queue/${name}`,
    password,
  );
  expect(await session.list()).toHaveLength(3);
  for (const number of [1, 2, 3]) await session.expect(`DELE ${number}`);
  await session.quit();
  expect(ann.pushed(name)).toEqual([]);
});
