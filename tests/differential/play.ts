/** Plays a scenario with a broker and says what its consumers saw. */
import { waitUntil } from "../support/wait.js";
import {
  type Action,
  type Outcome,
  type QueueOutcome,
  queuesOf,
  type Scenario,
  type ScenarioMessage,
  type ScenarioQueue,
} from "./scenario.js";

export interface Handled {
  readonly body: string;
  /** It was handed out before, or may have been. */
  readonly redelivered: boolean;
}

export interface RunningConsumer {
  /** Ends in good order; what it holds goes back. */
  stop(): Promise<void>;
}

export interface ConsumeWish {
  readonly prefetch: number;
  /** One after the other. After `die` the consumer is gone, without a word. */
  readonly handle: (delivery: Handled) => Action;
  readonly onDead: () => void;
}

/** One broker behind the same words as the other. */
export interface BrokerDriver {
  readonly name: string;
  /** Each queue with a queue for its dead letters. */
  declare(scenario: Scenario): Promise<void>;
  /** Resolves when the broker has taken all of them, in their order. */
  publish(messages: readonly ScenarioMessage[]): Promise<void>;
  consume(queue: string, wish: ConsumeWish): Promise<RunningConsumer>;
  /** Ready or in somebody's hands. */
  left(queue: string): Promise<number>;
  /** Bodies of all dead letters of a queue; takes them away. */
  takeDead(queue: string, count: number): Promise<readonly string[]>;
  close(): Promise<void>;
}

const deadlineMs = 60_000;

export async function play(driver: BrokerDriver, scenario: Scenario): Promise<Outcome> {
  await driver.declare(scenario);
  await driver.publish(scenario.messages);
  const outcomes = await Promise.all(
    scenario.queues.map(async (queue) => {
      const expected = scenario.messages.filter((message) =>
        queuesOf(scenario, message).includes(queue.name),
      );
      return [queue.name, await new QueuePlay(driver, queue, expected).run()] as const;
    }),
  );
  return Object.fromEntries(outcomes);
}

class QueuePlay {
  private readonly handled = new Map<string, string[]>();
  private readonly order: string[] = [];
  private readonly acked: string[] = [];
  private rejected = 0;
  private readonly consumers = new Set<RunningConsumer>();
  private starting: Promise<void>[] = [];
  private failed: Error | undefined;

  constructor(
    private readonly driver: BrokerDriver,
    private readonly queue: ScenarioQueue,
    private readonly expected: readonly ScenarioMessage[],
  ) {}

  async run(): Promise<QueueOutcome> {
    const { driver, queue, expected } = this;
    for (let n = 0; n < queue.consumers; n += 1) this.startOne();
    await waitUntil(
      () => {
        if (this.failed !== undefined) return true;
        const settled = this.acked.length + this.rejected;
        if (settled >= expected.length) return true;
        throw new Error(`${settled} of ${expected.length} of ${queue.name} are settled`);
      },
      { deadlineMs, what: `${driver.name}: all of ${queue.name}`, everyMs: 20 },
    );
    await Promise.all(this.starting);
    if (this.failed !== undefined) throw this.failed;
    await Promise.all([...this.consumers].map((consumer) => consumer.stop()));
    const left = await waitUntil(
      async () => {
        const count = await driver.left(queue.name);
        if (count === 0) return { count };
        throw new Error(`${count} are left in ${queue.name}`);
      },
      { deadlineMs, what: `${driver.name}: nothing left in ${queue.name}`, everyMs: 50 },
    );
    const dead = await driver.takeDead(queue.name, this.rejected);
    return {
      handled: this.handlings(),
      acked: [...this.acked].sort(),
      dead: [...dead].sort(),
      left: left.count,
      order: this.isInOrder() ? this.order : undefined,
    };
  }

  private startOne(): void {
    const { prefetch, name } = this.queue;
    let self: RunningConsumer | undefined;
    const started = this.driver
      .consume(name, {
        prefetch,
        handle: (delivery) => this.handle(delivery),
        onDead: () => {
          if (self) this.consumers.delete(self);
          this.startOne();
        },
      })
      .then((consumer) => {
        self = consumer;
        this.consumers.add(consumer);
      })
      .catch((error: Error) => {
        this.failed = error;
      });
    this.starting.push(started);
  }

  private handle({ body, redelivered }: Handled): Action {
    const before = this.handled.get(body) ?? [];
    const message = this.expected.find((each) => each.body === body);
    const action = message?.plan[before.length];
    if (action === undefined) {
      this.failed = new Error(
        `${this.queue.name}: ${body} came once too often, or should not be here`,
      );
      return "ack";
    }
    this.handled.set(body, [...before, `${action}${redelivered ? " again" : ""}`]);
    this.order.push(body);
    if (action === "ack") this.acked.push(body);
    if (action === "reject") this.rejected += 1;
    return action;
  }

  /**
   * With more than one in hand, a consumer that dies may have held others, which then come again although
   * nobody handled them: whether they are marked so is chance.
   */
  private handlings(): QueueOutcome["handled"] {
    const canDie = this.expected.some(({ plan }) => plan.includes("die"));
    const isChance = canDie && this.queue.prefetch > 1;
    const entries = [...this.handled].map(
      ([body, all]) =>
        [body, isChance ? all.map((one) => one.replace(" again", "")) : all] as const,
    );
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  private isInOrder(): boolean {
    return this.queue.consumers === 1 && this.expected.every(({ plan }) => plan.length === 1);
  }
}
