/** A member whose disk hangs, while another is away: what it is asked has an answer all the same, and it recovers. */
import { beforeEach, expect, test } from "vitest";
import {
  BrokerWorld,
  expected,
  message,
  numbered,
  packetOf,
  sender,
  texts,
} from "./broker-world.js";

let ring: BrokerWorld;
/** Whose disk hangs, and who wait for it. */
let hung: string | undefined;
let waiting: (() => void)[];
/** A body that can't be read, and no error either. */
let stuck: string | undefined;

const goOn = (): void => {
  hung = undefined;
  for (const each of waiting.splice(0)) each();
};

beforeEach(async () => {
  hung = undefined;
  waiting = [];
  stuck = undefined;
  ring = await BrokerWorld.form({
    faults: {
      wrapStore: (store, { self }) => {
        const untilItWorks = async (): Promise<void> => {
          if (hung === self.uuid) await new Promise<void>((end) => waiting.push(end));
        };
        return new Proxy(store, {
          get(target, name) {
            const own = Reflect.get(target, name, target) as unknown;
            if (typeof own !== "function") return own;
            const method = (own as (...args: unknown[]) => unknown).bind(target);
            if (name !== "write" && name !== "durable" && name !== "readBody") return method;
            return (...args: unknown[]) =>
              name === "readBody" && args[0] === stuck
                ? new Promise(() => undefined)
                : untilItWorks().then(() => method(...args));
          },
        });
      },
    },
  });
  await ring.declare("work");
});

const hang = (index: number): void => {
  hung = ring.member(index).uuid;
};

const leaderOf = (queue: string): number =>
  [0, 1, 2].findIndex((index) => ring.broker(index).leads(queue));

/** Longer than anything may take, and less than for ever. */
const patienceMs = 100_000;

test("a publisher is told to come again, and others of its device after it; then all is taken once", async () => {
  await ring.publishFirmly(numbered(1, 2, { routingKey: "work" }));
  ring.world.crash(ring.member(1), "power");
  hang(0);
  const to = { routingKey: "work" };
  const sent = [3, 4].map((n) =>
    ring.begin(0, (broker) => broker.publish(packetOf([message(n, to)]), sender("alice"))),
  );
  const outcomes = await ring.world.clock.until(Promise.all(sent), patienceMs);
  expect(outcomes[0]).toMatchObject({ kind: "refused", code: "undecided" });
  expect(outcomes[1]?.kind).not.toBe("taken");
  goOn();
  ring.world.restart(ring.member(1));
  await ring.world.clock.advance(10_000);
  expect(await ring.publishFirmly(numbered(3, 4, to))).toMatchObject({ kind: "taken" });
  expect(texts(await ring.drain(2, "work"))).toEqual(expected(1, 4));
});

test("a consumer is told that its acknowledgement is not durable, and the queue is led again", async () => {
  await ring.publishFirmly(numbered(1, 2, { routingKey: "work" }));
  const { session, shown } = await ring.open(0, "work");
  expect(shown).toHaveLength(2);
  const led = leaderOf("work");
  ring.world.crash(ring.member((led + 1) % 3), "power");
  hang(led);
  const settled = ring.begin(led, ({ operations }) =>
    operations.settle(
      { queue: "work", ack: session.entries.map((entry) => entry.message.id) },
      sender("alice"),
    ),
  );
  const outcome = await ring.world.clock.until(settled, patienceMs);
  expect(outcome).toMatchObject({ ok: false, code: "undecided" });
  goOn();
  ring.world.restart(ring.member((led + 1) % 3));
  await ring.world.clock.advance(100_000);
  await ring.publishFirmly(numbered(3, 3, { routingKey: "work" }));
  expect(texts(await ring.drain(led, "work"))).toContain("m3");
});

test("one that rejects what can't be read is told so, and it is a dead letter when it can be", async () => {
  await ring.publishFirmly(numbered(1, 2, { routingKey: "work" }));
  const { shown } = await ring.open(0, "work");
  const led = leaderOf("work");
  const reject = [shown[0]?.uid ?? ""];
  const ask = (index: number) =>
    ring.begin(index, ({ operations }) =>
      operations.settle({ queue: "work", reject }, sender("alice")),
    );
  await ring.declare("work.dead");
  hang(led);
  const askedMs = ring.world.clock.nowMs;
  const outcome = await ring.world.clock.until(ask(led), patienceMs);
  expect(outcome).toMatchObject({ ok: false, code: "undecided" });
  // Sooner than the read is given up.
  expect(ring.world.clock.nowMs - askedMs).toBeLessThan(20_000);
  goOn();
  await ring.world.clock.advance(60_000);
  const dead = await ring.open(led, "work.dead");
  expect(texts(dead.shown)).toEqual(["m1"]);
});

test("one body that can't be read does not keep others from the dead letters", async () => {
  await ring.publishFirmly(numbered(1, 2, { routingKey: "work" }));
  const { shown } = await ring.open(0, "work");
  stuck = shown[0]?.entry.message.digest;
  for (const { uid } of shown) {
    const ask = { queue: "work", reject: [uid] };
    void ring.begin(0, ({ operations }) => operations.settle(ask, sender("alice")));
    await ring.world.clock.advance(1_000);
  }
  await ring.world.clock.advance(60_000);
  const dead = await ring.open(2, "work.dead");
  expect(texts(dead.shown)).toEqual(["m2"]);
});
