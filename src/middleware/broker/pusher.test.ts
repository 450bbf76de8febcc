import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { composeMail, type DataFrame, type Frame, sealPacket } from "../../ebm/index.js";
import { ManualClock, messageOf, quietLog } from "../../replication/testing.js";
import type { MailboxName } from "../../shared/ids.js";
import { AnswerError } from "../control/answers.js";
import { elsewhereLimits } from "../control/limits.js";
import type { Addressee } from "../ports.js";
import type { PushWork } from "./broker.js";
import type { PushBatch } from "./queue-leader.js";
import { Pusher } from "./pusher.js";

const { privateKey } = generateKeyPairSync("ed25519");
const owner = "ann@ring.test" as MailboxName;
const work: PushWork = { queue: "q", owner };
const trace = "Ringpost-Entry: n=1\r\n";
const message = (n: number) => messageOf(n, { trace });
const idOf = (n: number) => message(n).id;

const frame = (n: number): DataFrame => ({
  ...{ kind: "data", stream: "main", sequence: n, id: `m${n}`, offset: 0, size: 1 },
  ...{ properties: { sentAtMs: 1 }, octets: Buffer.from([n]) },
});

function mailOf(to: string, frames: readonly Frame[]): Buffer {
  const from = { user: "ring@ring.test", device: "k1", epoch: 0 };
  // Long over: what an entry's mail says of that does not matter here.
  const header = { connection: "c", packet: 1, from, to, expiresAtMs: 1 };
  const packet = sealPacket({ header, frames, privateKey });
  const index = { connection: "c", packet: 1, type: "data" } as const;
  const addresses = { from: "ring@ring.test", to: "ring+data@ring.test" };
  return composeMail({ ...addresses, index, messageId: "1@x", date: new Date(0), packet });
}

class World {
  readonly clock = new ManualClock();
  /** Entries that wait, by number. */
  waiting: number[] = [];
  readonly sent: { to: Addressee; frames: readonly DataFrame[] }[] = [];
  readonly nacked: unknown[] = [];
  givenBack = 0;
  asked = 0;
  address: string | undefined = "ann@else.test";
  refusal: Error | undefined;
  inOrder = false;
  isOpen = true;
  afterGiveBack: () => void = () => undefined;
  unreadable = new Set<number>();
  wake: (work: PushWork) => void = () => undefined;
  readonly pusher: Pusher;

  constructor() {
    this.pusher = new Pusher({
      broker: {
        onPush: (pusher) => void (this.wake = pusher),
        pushWork: async () => [],
        takeToPush: async () => this.take(),
        pushFailed: async (queue, entries) => void this.nacked.push({ queue, entries }),
      },
      answers: {
        send: async (to, frames) => {
          if (this.refusal) throw this.refusal;
          this.sent.push({ to, frames: frames as readonly DataFrame[] });
        },
      },
      addressOf: async () => {
        this.asked += 1;
        return this.address;
      },
      ...{ clock: this.clock, log: quietLog },
    });
  }

  private take(): PushBatch {
    const numbers = this.isOpen ? this.waiting.splice(0, 2) : [];
    return {
      entries: numbers.map((n) => ({ message: message(n), redelivered: n })),
      read: async ({ id }) => {
        const n = Number.parseInt(id, 16);
        if (this.unreadable.has(n)) throw new Error("no sound copy");
        return Buffer.concat([Buffer.from(trace), mailOf("queue:*", [frame(n)])]);
      },
      inOrder: this.inOrder,
      giveBack: (unsent) => {
        this.givenBack += 1;
        this.waiting.unshift(...unsent.map(({ message: { id } }) => Number.parseInt(id, 16)));
        this.afterGiveBack();
      },
    };
  }

  /** Tells of work, and lets it be done. */
  async woken(): Promise<void> {
    this.wake(work);
    await this.clock.advance(0);
  }
}

test("entries go out together, each named, to where their owner answers, until none is left", async () => {
  const world = new World();
  world.waiting = [1, 2, 3];
  await world.woken();
  const to = { user: owner, address: "ann@else.test", queue: "q" };
  expect(world.sent.map((one) => one.to)).toEqual([to, to]);
  const told = world.sent.map(({ frames }) => frames.map((one) => [one.entry, one.redelivered]));
  expect(told).toEqual([
    [
      [idOf(1), 1],
      [idOf(2), 2],
    ],
    [[idOf(3), 3]],
  ]);
  expect(world.sent[0]?.frames[0]?.octets).toEqual(Buffer.from([1]));
});

test.each([
  ["full", 5_000],
  ["forbidden", 30_000],
] as const)("can't be sent (%s): given back, and tried again later", async (code, laterMs) => {
  const world = new World();
  world.waiting = [1];
  world.refusal = new AnswerError(code, "no");
  await world.woken();
  expect([world.givenBack, world.waiting]).toEqual([1, [1]]);
  // However often it is told.
  await world.woken();
  expect(world.givenBack).toBe(1);
  world.refusal = undefined;
  await world.clock.advance(laterMs);
  await world.woken();
  expect(world.sent).toHaveLength(1);
});

test.each([
  ["too few members took it", new AnswerError("undecided", "no")],
  ["what went wrong is not known", new Error("cut off")],
])("what may be sent all the same stays on its way, as handed out: %s", async (_, failure) => {
  const world = new World();
  world.waiting = [1];
  world.refusal = failure;
  await world.woken();
  expect([world.givenBack, world.waiting]).toEqual([0, []]);
  world.refusal = undefined;
  await world.clock.advance(5_000);
  world.waiting = [2];
  await world.woken();
  expect(world.sent.flatMap(({ frames }) => frames.map(({ entry }) => entry))).toEqual([idOf(2)]);
});

test("nobody knows where its owner answers: nothing is taken", async () => {
  const world = new World();
  world.waiting = [1];
  world.address = undefined;
  await world.woken();
  await world.woken();
  expect([world.waiting, world.asked]).toEqual([[1], 1]);
});

test("what can't be read now stays leased, and holds nothing up", async () => {
  const world = new World();
  world.waiting = [1, 2];
  world.unreadable.add(1);
  await world.woken();
  expect(world.sent.flatMap(({ frames }) => frames.map(({ entry }) => entry))).toEqual([idOf(2)]);
  expect(world.givenBack).toBe(0);
});

test("what can't be read now is passed by nothing of a queue that is in order", async () => {
  const world = new World();
  world.inOrder = true;
  world.waiting = [1, 2];
  world.unreadable.add(1);
  // What is leased by then holds the rest back.
  world.afterGiveBack = () => (world.isOpen = false);
  await world.woken();
  expect(world.sent).toEqual([]);
  expect(world.waiting).toEqual([2]);
});

test("so many mails to one address in a minute: nobody is flooded by who names them as their own", async () => {
  const world = new World();
  const { perNetwork, windowMs } = elsewhereLimits;
  world.waiting = Array.from({ length: 4 * perNetwork }, (_, n) => n + 1);
  await world.woken();
  expect(world.sent).toHaveLength(perNetwork);
  expect(world.givenBack).toBe(1);
  await world.clock.advance(windowMs);
  await world.woken();
  expect(world.sent).toHaveLength(2 * perNetwork);
});

test("refused for good: each entry again, the later the oftener it was delivered", async () => {
  const world = new World();
  const frames = [
    { ...frame(1), entry: idOf(1), redelivered: 0 },
    { ...frame(2), entry: idOf(1), redelivered: 0 },
    { ...frame(3), entry: idOf(3), redelivered: 3 },
  ];
  await world.pusher.givenUp({ octets: mailOf("queue:orders", frames) });
  const entries = [
    { entry: idOf(1), ms: 5_000 },
    { entry: idOf(3), ms: 40_000 },
  ];
  expect(world.nacked).toEqual([{ queue: "orders", entries }]);
});

test.each([
  ["an answer", mailOf("ann@ring.test", [{ kind: "configuration", id: "1", body: {} as never }])],
  ["entries without names", mailOf("queue:q", [frame(1)])],
  ["any mail", Buffer.from("Subject: A test\r\n\r\nx\r\n")],
  ["octets", Buffer.from([0, 255, 13])],
])("other mail that was given up: nobody's entries (%s)", async (_what, octets) => {
  const world = new World();
  await world.pusher.givenUp({ octets });
  expect(world.nacked).toEqual([]);
});
