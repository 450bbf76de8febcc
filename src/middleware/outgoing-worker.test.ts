/** The worker over a mailbox in memory that several workers share, in simulated time. */
import { expect, test } from "vitest";
import { envelopeLines } from "../mailbox/outgoing-mail.js";
import { ManualClock, messageOf, quietLog } from "../replication/testing.js";
import type { StoredMessage } from "../shared/operation.js";

import { outgoingTimes } from "./outgoing-schedule.js";
import {
  type GivenUpMail,
  type Maildrop,
  type OpenMaildropAnswer,
  OutgoingWorker,
} from "./outgoing-worker.js";
import type { SendOutcome } from "./smart-host.js";

type Treat = (to: string, n: number) => SendOutcome | Promise<SendOutcome>;
const taken: SendOutcome = { kind: "taken", reply: "250 ok" };
const later: SendOutcome = { kind: "later", why: "451" };

/** A mailbox with a lock, and the smart host behind it. */
class World {
  readonly clock = new ManualClock();
  messages: StoredMessage[] = [];
  holder: object | undefined;
  /** Removals are refused, as when too few members answer. */
  canRemove = true;
  readonly sent: string[] = [];
  readonly givenUp: GivenUpMail[] = [];
  readonly senders: string[] = [];
  canTell = true;
  treat: Treat = () => taken;
  private serial = 0;

  add(to: string, from = ""): string {
    this.serial += 1;
    const trace = envelopeLines({ to, from });
    this.messages.push(
      messageOf(this.serial, { trace, receivedAtMs: this.clock.wallMs(), bodyOctets: 3 }),
    );
    return `mail ${this.serial}`;
  }

  private open(session: object): OpenMaildropAnswer {
    if (this.holder && this.holder !== session) return { kind: "inUse" };
    this.holder = session;
    const maildrop: Maildrop = {
      messages: [...this.messages],
      read: async ({ trace, id }) => Buffer.from(`${trace}mail ${Number.parseInt(id, 16)}`),
      remove: async (some) => {
        if (this.holder !== session || !this.canRemove) return false;
        const ids = new Set(some.map(({ id }) => id));
        this.messages = this.messages.filter(({ id }) => !ids.has(id));
        return true;
      },
      release: () => {
        if (this.holder === session) this.holder = undefined;
      },
      relist: async () => {
        if (this.open(session).kind !== "open") return { kind: "lost" };
        const messages = [...this.messages];
        return { kind: "listed", messages, unsure: new Set(), digest: undefined };
      },
    };
    return { kind: "open", maildrop };
  }

  worker(): OutgoingWorker {
    const worker = new OutgoingWorker({
      smartHost: {
        send: async ({ from, to, octets }) => {
          this.senders.push(from);
          this.sent.push(octets.toString());
          const n = this.sent.filter((one) => one === octets.toString()).length;
          return await this.treat(to, n);
        },
        close: () => undefined,
      },
      open: async () => this.open({}),
      waiting: async () => this.messages.length,
      ...{ times: outgoingTimes, sendsMax: 2, clock: this.clock, log: quietLog },
      onGivenUp: async (mail) => {
        if (!this.canTell) throw new Error("too few members");
        this.givenUp.push(mail);
      },
    });
    worker.start();
    return worker;
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 250) await this.clock.advance(250);
  }
}

test("wakes at once, sends without the trace, removes, and gives the lock up", async () => {
  const world = new World();
  const worker = world.worker();
  await world.clock.advance(0);
  const mail = world.add("ann@x");
  worker.wake();
  await world.clock.advance(0);
  expect(world.sent).toEqual([mail]);
  await world.pass(1_000);
  expect(world.messages).toEqual([]);
  expect(world.holder).toBeUndefined();
});

test("what another member left behind is found", async () => {
  const world = new World();
  world.worker();
  await world.pass(1_000);
  const mail = world.add("ann@x");
  await world.pass(6_000);
  expect(world.sent).toEqual([mail]);
});

test("at most so many at a time, and what comes meanwhile is seen", async () => {
  const world = new World();
  const ends: (() => void)[] = [];
  world.treat = () => new Promise((resolve) => ends.push(() => resolve(taken)));
  const worker = world.worker();
  for (const to of ["a@x", "b@x", "c@x"]) world.add(to);
  worker.wake();
  await world.clock.advance(0);
  expect(world.sent).toHaveLength(2);
  world.add("d@x");
  worker.wake();
  await world.pass(1_500);
  for (let n = 0; n < 4; n += 1) {
    ends.shift()?.();
    await world.pass(250);
  }
  expect(world.sent).toHaveLength(4);
  await world.pass(1_500);
  expect(world.messages).toEqual([]);
});

test("given up: told with the mail and the reason, and removed", async () => {
  const world = new World();
  world.treat = () => ({ kind: "never", why: "550 5.1.1 no" });
  const mail = world.add("ann@x");
  world.worker();
  await world.pass(1_000);
  const why = "550 5.1.1 no";
  expect(world.givenUp).toMatchObject([{ to: "ann@x", octets: Buffer.from(mail), why }]);
  expect(world.messages).toEqual([]);
});

test("given up, and its sender can't be told yet: it stays until they know", async () => {
  const world = new World();
  world.treat = () => ({ kind: "never", why: "550 5.1.1 no" });
  world.canTell = false;
  world.add("ann@x", "alice@ring.test");
  world.worker();
  await world.pass(90_000);
  expect(world.messages).toHaveLength(1);
  expect(world.givenUp).toEqual([]);
  world.canTell = true;
  await world.pass(130_000);
  expect(world.givenUp).toMatchObject([{ from: "alice@ring.test", to: "ann@x", isRefused: true }]);
  expect(world.messages).toEqual([]);
});

test("the sender is the mail's own, and what follows the envelope goes out", async () => {
  const world = new World();
  world.add("ann@x", "alice@ring.test");
  const [message] = world.messages;
  const received = "Received: from here\r\n";
  if (message) world.messages = [{ ...message, trace: `${message.trace}${received}` }];
  world.worker();
  await world.pass(1_000);
  expect(world.senders).toEqual(["alice@ring.test"]);
  expect(world.sent).toEqual([`${received}mail 1`]);
});

test("later: the lock is kept, so that nobody else tries sooner", async () => {
  const world = new World();
  world.treat = (_, n) => (n === 1 ? later : taken);
  world.add("ann@x");
  world.worker();
  await world.pass(500);
  const { holder } = world;
  world.worker();
  await world.pass(58_000);
  expect(world.holder).toBe(holder);
  expect(world.sent).toHaveLength(1);
  await world.pass(3_000);
  expect(world.sent).toHaveLength(2);
  expect(world.messages).toEqual([]);
});

test("sent, but it can't be removed: not sent again by this member, and removed as soon as can be", async () => {
  const world = new World();
  world.canRemove = false;
  world.add("ann@x");
  world.worker();
  await world.pass(10_000);
  expect(world.sent).toHaveLength(1);
  world.canRemove = true;
  await world.pass(2_000);
  expect(world.messages).toEqual([]);
  expect(world.sent).toHaveLength(1);
});

test("a member that was frozen looks again before it sends what others have sent", async () => {
  const world = new World();
  const ends: (() => void)[] = [];
  world.treat = () => new Promise((resolve) => ends.push(() => resolve(taken)));
  for (let n = 0; n < 6; n += 1) world.add("ann@x");
  world.worker();
  await world.clock.advance(0);
  expect(world.sent).toHaveLength(1);
  // While it is frozen, another one gets the lock and sends all of it.
  world.messages = [];
  world.holder = {};
  await world.clock.advance(10_000);
  ends.shift()?.();
  await world.pass(3_000);
  expect(world.sent).toHaveLength(1);
});

test("stopping ends what is under way and gives the lock up", async () => {
  const world = new World();
  world.treat = () => later;
  world.add("ann@x");
  const worker = world.worker();
  await world.pass(500);
  expect(world.holder).toBeDefined();
  const stopped = worker.stop();
  await world.pass(250);
  await stopped;
  expect(world.holder).toBeUndefined();
  expect(world.messages).toHaveLength(1);
});
