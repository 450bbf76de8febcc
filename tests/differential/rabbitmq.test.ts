/**
 * RabbitMQ and the ring under the same scenarios: what consumers see is the same. The rules by which a
 * message finds its queues are also compared by themselves, over many more bindings.
 *
 * RINGPOST_SEED=n plays others, RINGPOST_SCENARIOS=n more.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDice } from "../../src/drill/dice.js";
import type { ExchangeType } from "../../src/ebm/index.js";
import { matches, type Pattern } from "../../src/middleware/broker/routing.js";
import { type RabbitMq, rabbitMissing, startRabbitMq } from "../support/rabbitmq.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { play } from "./play.js";
import { RabbitDriver } from "./rabbit-driver.js";
import { RingDriver } from "./ring-driver.js";
import { queuesOf, randomHeaders, randomScenario, randomTopic } from "./scenario.js";

const seed = Number(process.env["RINGPOST_SEED"] ?? 2026);
const scenarios = Number(process.env["RINGPOST_SCENARIOS"] ?? 4);
const seeds = Array.from({ length: scenarios }, (_, n) => seed + n);
const missing = rabbitMissing();
if (missing !== undefined) process.stderr.write(`no comparison with RabbitMQ: ${missing}\n`);
const scope = ringScope("file");

let rabbit: RabbitMq | undefined;
let ring: Ring;

beforeAll(async () => {
  if (missing !== undefined) return;
  rabbit = await startRabbitMq().catch((error: unknown) => {
    process.stderr.write(`no comparison with RabbitMQ, it does not start: ${String(error)}\n`);
    return undefined;
  });
  if (rabbit) await startRing();
});

beforeEach(({ skip }) => skip(rabbit === undefined, "there is no RabbitMQ"));

afterAll(() => rabbit?.stop());

/** Scenarios are played at the same time, since most of it is waiting for leases to end. */
const userOf = (each: number): string => `tester${each}`;

function started(): RabbitMq {
  if (rabbit === undefined) throw new Error("there is no RabbitMQ");
  return rabbit;
}

async function startRing(): Promise<void> {
  ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(seeds.map(userOf));
}

/** Bindings and messages of one kind of exchange, at random. */
const kinds: readonly [ExchangeType, () => Pattern, () => Omit<Pattern, "match">][] = (() => {
  const dice = createDice(seed);
  const plain = { headers: {}, match: "all" } as const;
  const word = (): string => dice.pick(["", "red", "green", "Red", "red.green", "*", "#"]);
  return [
    ["direct", () => ({ ...plain, key: word() }), () => ({ ...plain, key: word() })],
    ["fanout", () => ({ ...plain, key: word() }), () => ({ ...plain, key: word() })],
    [
      "topic",
      () => ({ ...plain, key: randomTopic(dice, true) }),
      () => ({ ...plain, key: randomTopic(dice, dice.chance(0.2)) }),
    ],
    [
      "headers",
      () => ({
        key: "",
        headers: randomHeaders(dice),
        match: dice.pick(["all", "any", "all-with-x", "any-with-x"]),
      }),
      () => ({ key: word(), headers: randomHeaders(dice) }),
    ],
  ];
})();

describe.skipIf(missing !== undefined)("which messages a binding matches", () => {
  test.each(kinds)("%s", async (type, randomPattern, randomMessage) => {
    const patterns = Array.from({ length: type === "fanout" ? 5 : 120 }, randomPattern);
    const messages = Array.from({ length: 250 }, randomMessage);
    const connection = await started().connect();
    const channel = await connection.createConfirmChannel();
    const exchange = `pure.${type}`;
    await channel.assertExchange(exchange, type);
    const queues = await Promise.all(
      patterns.map(async ({ key, headers, match }) => {
        const { queue } = await channel.assertQueue("", { exclusive: true });
        const given = type === "headers" ? { ...headers, "x-match": match } : {};
        await channel.bindQueue(queue, exchange, key, given);
        return queue;
      }),
    );
    for (const [n, { key, headers }] of messages.entries()) {
      channel.publish(exchange, key, Buffer.from(String(n)), { headers });
    }
    await channel.waitForConfirms();
    let hits = 0;
    for (const [index, pattern] of patterns.entries()) {
      const theirs: number[] = [];
      const queue = queues[index] ?? "";
      for (let more = true; more; ) {
        const got = await channel.get(queue, { noAck: true });
        if (got) theirs.push(Number(got.content.toString()));
        more = got !== false;
      }
      const ours = messages.flatMap(({ key: routingKey, headers }, n) =>
        matches(type, pattern, { routingKey, headers }) ? [n] : [],
      );
      const shown = (ids: readonly number[]) => ids.map((n) => messages[n]);
      expect(shown(ours), JSON.stringify(pattern)).toEqual(shown(theirs));
      hits += theirs.length;
    }
    // Neither all nor nothing: else nothing was compared.
    expect(hits).toBeGreaterThan(100);
    await connection.close();
  });
});

describe.skipIf(missing !== undefined)("what consumers see", () => {
  test.each(seeds)("RabbitMQ does as the scenario's model says, seed %i", async (each) => {
    const scenario = randomScenario(each, createDice(each));
    const driver = await RabbitDriver.connect(started());
    const outcome = await play(driver, scenario).finally(() => driver.close());
    for (const { name } of scenario.queues) {
      const bodies = scenario.messages
        .filter((message) => queuesOf(scenario, message).includes(name))
        .map(({ body }) => body);
      const { acked = [], dead = [], order } = outcome[name] ?? {};
      expect([...acked, ...dead].sort()).toEqual([...bodies].sort());
      if (order) expect(order).toEqual(bodies);
    }
  });

  test.concurrent.each(seeds)("RabbitMQ and the ring see the same, seed %i", async (each) => {
    // Other names than above: RabbitMQ remembers its queues.
    const scenario = randomScenario(each + 1_000_000, createDice(each));
    const theirs = await RabbitDriver.connect(started());
    const { smtp, pop3 } = ring.entry;
    const account = { user: userOf(each), password };
    const ours = await RingDriver.connect({ servers: [{ smtp, pop3 }], account });
    const played = Promise.all([play(theirs, scenario), play(ours, scenario)]);
    const [expected, got] = await played.finally(() => theirs.close().then(() => ours.close()));
    expect(got).toEqual(expected);
  });
});
