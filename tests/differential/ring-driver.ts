import type { ConnectOptions, Consumer, Delivery, Queue, Ringpost } from "../../src/sdk/api.js";
import { connect } from "../../src/sdk/index.js";
import type { BrokerDriver, ConsumeWish, RunningConsumer } from "./play.js";
import type { Scenario, ScenarioMessage } from "./scenario.js";

/** Soon again after a death; long enough to settle on a busy machine. */
const leaseMs = 4_000;

/** A ring, by the SDK alone. All clients are programs of one user. */
export class RingDriver implements BrokerDriver {
  readonly name = "the ring";

  private constructor(
    private readonly dial: () => Promise<Ringpost>,
    private readonly client: Ringpost,
  ) {}

  static async connect(options: ConnectOptions): Promise<RingDriver> {
    const poll = { minMs: 50, maxMs: 500 };
    const dial = (): Promise<Ringpost> => connect({ poll, ...options });
    return new RingDriver(dial, await dial());
  }

  async declare({ exchanges, queues, bindings }: Scenario): Promise<void> {
    const { client } = this;
    for (const { name, type } of exchanges) await client.exchange(name, type);
    const declared = new Map<string, Queue>();
    for (const { name } of queues) declared.set(name, await client.queue(name, { leaseMs }));
    for (const { exchange, queue, key, headers, match } of bindings) {
      await declared.get(queue)?.bind(exchange, { key, headers, match });
    }
  }

  async publish(messages: readonly ScenarioMessage[]): Promise<void> {
    const receipts = [];
    for (const { exchange, key, headers, body } of messages) {
      receipts.push(await this.client.publish(exchange, body, { key, headers }));
    }
    await Promise.all(receipts.map(({ delivered }) => delivered));
  }

  async consume(queue: string, wish: ConsumeWish): Promise<RunningConsumer> {
    // A client of its own, so that it can die alone.
    const client = await this.dial();
    const consumer = (await client.queue(queue, { leaseMs })).consume({ prefetch: wish.prefetch });
    const ended = handleAll(client, consumer, wish);
    ended.catch(() => undefined);
    return {
      stop: async () => {
        await consumer.close();
        await ended;
        await client.close();
      },
    };
  }

  async left(queue: string): Promise<number> {
    const { ready, delayed, leased } = await (await this.client.queue(queue, { leaseMs })).status();
    return ready + delayed + leased;
  }

  async takeDead(queue: string, count: number): Promise<readonly string[]> {
    if (count === 0) return [];
    const bodies: string[] = [];
    const dead = (await this.client.queue(queue, { leaseMs })).deadLetters();
    for await (const delivery of dead.consume()) {
      bodies.push(delivery.text());
      await delivery.ack();
      if (bodies.length >= count) break;
    }
    const { ready, delayed, leased } = await dead.status();
    return ready + delayed + leased > 0 ? [...bodies, "and more"] : bodies;
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}

async function handleAll(client: Ringpost, consumer: Consumer, wish: ConsumeWish): Promise<void> {
  for await (const delivery of consumer) {
    const body = delivery.text();
    const action = wish.handle({ body, redelivered: delivery.redelivered > 0 });
    if (action === "die") {
      await client.close();
      wish.onDead();
      return;
    }
    await settle(delivery, action);
  }
}

function settle(delivery: Delivery, action: "ack" | "requeue" | "reject"): Promise<void> {
  if (action === "ack") return delivery.ack();
  return action === "requeue" ? delivery.nack() : delivery.reject("as planned");
}
