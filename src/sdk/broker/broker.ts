/** Exchanges and queues of the ring, as the application sees them. */
import { createHash } from "node:crypto";
import type { Binding, ExchangeOptions, QueueOptions } from "../../ebm/index.js";
import type { Pop3Client } from "../../client/pop3-client.js";
import type {
  Body,
  ConsumeOptions,
  Consumer,
  Exchange,
  Queue,
  Receipt,
  SendOptions,
} from "../api.js";
import { checkConsuming, checkName } from "../checks.js";
import type { Control } from "../control/control.js";
import { Bell } from "../consume/bell.js";
import { QueueConsumer } from "../consume/queue-consumer.js";
import { SettlementMails } from "../consume/settlements.js";
import { Settler } from "../consume/settler.js";
import { RingpostError } from "../errors.js";
import type { Values } from "../journal/ports.js";
import type { Link, PushedEntry } from "../link/ports.js";
import { sendMessage } from "../outbox.js";
import { EarlyBindings } from "./early-bindings.js";
import { QueueDoors } from "./queue-doors.js";

export interface BrokerOptions {
  readonly user: string;
  readonly ring: () => string;
  readonly ask: Control["ask"];
  readonly link: Link;
  readonly values: Values;
  readonly openQueue: (name: string, use: (client: Pop3Client) => Promise<void>) => Promise<void>;
  /** Those of the queues that are worth a look. */
  readonly askQueues: (names: readonly string[]) => Promise<readonly string[]>;
  readonly poll: { readonly minMs: number; readonly maxMs: number };
  readonly failed: (queue: string, error: unknown) => void;
  readonly closing: AbortSignal;
  /** The user's account is elsewhere: queues are pushed to it instead of being fetched. */
  readonly isPushed: boolean;
}

type BindingOptions = Omit<Binding, "exchange" | "queue">;

const defaultLeaseMs = 30_000;
const deadSuffix = ".dead";
/** Those of one turn share a mail; under load, what comes while one is on its way does. */
const settleLingerMs = 1;
/** Whether an exchange that a queue waits for is there. */
const earlyAgainMs = { first: 5_000, max: 300_000 } as const;

export class Broker {
  readonly #options: BrokerOptions;
  readonly #settlements: SettlementMails;
  readonly #settlers = new Map<string, Settler>();
  readonly #consumers = new Map<string, Set<QueueConsumer>>();
  /** Consumers by the event that they are subscribed to. */
  readonly #subscriptions = new Map<string, Set<Consumer>>();
  readonly #leases = new Map<string, number>();
  /** Events that are known to be there. */
  readonly #events = new Set<string>();
  readonly #early: EarlyBindings;
  readonly #doors: QueueDoors;
  readonly #bell: Bell | undefined;
  #isOver = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    const { ask, askQueues, openQueue, poll, closing, failed, isPushed } = options;
    this.#settlements = new SettlementMails({
      ...{ ask: (asked) => ask("settle", asked), nowMs: Date.now, closing },
    });
    const status = (name: string) => ask("queueStatus", { name });
    this.#doors = new QueueDoors({ open: openQueue, status, failed });
    this.#early = new EarlyBindings({
      ...{ closing, againMs: earlyAgainMs, bind: (binding) => ask("bind", binding) },
      ended: ({ exchange, queue }, { code, message }) => {
        const why = `${exchange} was declared for others, and sends nothing to ${queue}: ${message};`;
        const hint = "ask them to be named there, then bind or subscribe again";
        failed(queue, new RingpostError(code, `${why} ${hint}`, false));
      },
    });
    // What is pushed comes by itself.
    if (!isPushed) this.#bell = new Bell({ ask: askQueues, poll, closing });
  }

  async exchange(name: string, options: ExchangeOptions): Promise<Exchange> {
    checkName(name, "an exchange");
    await this.#options.ask("declareExchange", { name, ...options });
    this.#events.add(name);
    return this.exchangeNamed(name);
  }

  exchangeNamed(name: string): Exchange {
    const { ask } = this.#options;
    return {
      name,
      publish: (body, options) => this.publish(name, body, options),
      remove: async () => {
        await ask("removeExchange", { name });
        this.#events.delete(name);
      },
    };
  }

  publish(
    exchange: string,
    body: Body,
    options: SendOptions & { readonly key?: string } = {},
  ): Promise<Receipt> {
    const extra = { exchange, routingKey: options.key ?? "" };
    return this.#send(body, options, extra);
  }

  /** As `publish`; an event that nobody has created yet is created by who first publishes it. */
  async publishEvent(
    event: string,
    body: Body,
    options?: SendOptions & { readonly key?: string },
  ): Promise<Receipt> {
    checkName(event, "an event");
    if (!this.#events.has(event)) await this.#ensureEvent(event);
    return await this.publish(event, body, options);
  }

  createEvent(name: string, options: Partial<ExchangeOptions> = {}): Promise<Exchange> {
    return this.exchange(name, { type: "topic", subscribers: "everyone", ...options });
  }

  async queue(name: string, options: QueueOptions = {}): Promise<Queue> {
    checkName(name, "a queue");
    const push = this.#options.isPushed ? { push: true } : {};
    await this.#options.ask("declareQueue", { name, ...push, ...options });
    this.#leases.set(name, options.leaseMs ?? defaultLeaseMs);
    return this.queueNamed(name, options);
  }

  queueNamed(name: string, options: QueueOptions = {}): Queue {
    const { ask } = this.#options;
    const bindingTo = (exchange: string, binding: BindingOptions): Binding => ({
      exchange,
      queue: name,
      ...binding,
    });
    return {
      name,
      send: (body, sendOptions = {}) => this.#send(body, sendOptions, { routingKey: name }),
      consume: (consume = {}) => {
        checkConsuming(consume);
        return this.#consume(name, consume);
      },
      bind: async (exchange, binding = {}) => {
        if (binding.early === true) await this.#early.bind(bindingTo(exchange, binding));
        else await ask("bind", bindingTo(exchange, binding));
      },
      unbind: async (exchange, binding = {}) => {
        this.#early.forget(name, exchange);
        await ask("unbind", bindingTo(exchange, binding));
      },
      status: () => this.#doors.status(name),
      deadLetters: () => {
        const dead = options.deadLetters ?? `${name}${deadSuffix}`;
        this.#doors.expect(dead);
        return this.queueNamed(dead);
      },
      redrive: async (redrive = {}) => (await ask("redrive", { queue: name, ...redrive })).moved,
      remove: async () => {
        this.#early.forget(name);
        await ask("removeQueue", { name });
      },
    };
  }

  async subscribe(
    event: string,
    { key = "#", ...consume }: ConsumeOptions & { readonly key?: string } = {},
  ): Promise<Consumer> {
    // Before there is a queue for it.
    checkName(event, "an event");
    checkConsuming(consume);
    const { values } = this.#options;
    const name = this.#subscriptionOf(event);
    // A program that is gone for long loses its oldest events to the dead letters, and stops nobody.
    const queue = await this.queue(name, { exclusive: true, overflow: "drop-oldest" });
    const before = values.get(`subscription:${event}`) as { readonly key: string } | undefined;
    // Whoever publishes it first makes it: what is published from then on is ours, too.
    await this.#early.bind({ exchange: event, queue: name, key });
    if (before !== undefined && before.key !== key) {
      await this.#options.ask("unbind", { exchange: event, queue: name, ...before });
    }
    if (before?.key !== key) await values.set(`subscription:${event}`, { key });
    const consumer = queue.consume(consume);
    const consumers = this.#subscriptions.get(event) ?? new Set();
    this.#subscriptions.set(event, consumers.add(consumer));
    return consumer;
  }

  async unsubscribe(event: string): Promise<void> {
    checkName(event, "an event");
    const { ask, values } = this.#options;
    for (const consumer of this.#subscriptions.get(event) ?? []) await consumer.close();
    this.#subscriptions.delete(event);
    this.#early.forget(this.#subscriptionOf(event));
    try {
      await ask("removeQueue", { name: this.#subscriptionOf(event) });
    } catch (error) {
      if (!(error instanceof RingpostError) || error.code !== "unknown") throw error;
    }
    await values.set(`subscription:${event}`, undefined);
  }

  /** Entries of a queue that were pushed. False: nobody here has room for them, they wait. */
  async takePushed(queue: string, pushed: readonly PushedEntry[]): Promise<boolean> {
    const consumers = [...(this.#consumers.get(queue) ?? [])];
    const consumer = consumers.find((one) => one.stream.room > 0);
    if (consumer === undefined) return false;
    for (const { entry, ...shown } of pushed) {
      // The same mail once more, and no further delivery.
      if (consumers.some((one) => one.has(entry, shown))) continue;
      await consumer.take(entry, shown, 0);
    }
    return true;
  }

  /** Looks at all queues soon. */
  poke(): void {
    let someoneIsQuiet = false;
    for (const consumers of this.#consumers.values()) {
      for (const consumer of consumers) {
        if (consumer.isQuiet) someoneIsQuiet = true;
        else consumer.poke();
      }
    }
    if (someoneIsQuiet) this.#bell?.listen({ isBusy: true });
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#settlers.values()].map((settler) => settler.settled()));
  }

  /**
   * Every consumer ends, and the ring knows what they gave back: others need not wait for their leases to be over.
   * Within seconds in any case; never rejects.
   */
  async giveBack(): Promise<void> {
    const consumers = [...this.#consumers.values()].flatMap((some) => [...some]);
    await Promise.all(consumers.map(({ stream }) => stream.close()));
  }

  /** As `giveBack`, and nobody consumes any more. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.giveBack();
  }

  #send(
    body: Body,
    options: SendOptions,
    extra: { exchange?: string; routingKey: string },
  ): Promise<Receipt> {
    const { link, ring } = this.#options;
    return sendMessage(link, { to: ring(), body, options, extra });
  }

  #consume(name: string, consume: ConsumeOptions): Consumer {
    const { ask, isPushed, link, poll, closing } = this.#options;
    const failed = (queue: string, error: unknown): void => this.#doors.failed(queue, error);
    // The ring makes queues of dead letters by itself, and sends them to nobody who has not asked.
    if (isPushed && name.endsWith(deadSuffix)) {
      ask("declareQueue", { name, push: true }).catch((error: unknown) => failed(name, error));
    }
    const { stream } = new QueueConsumer(
      {
        queue: name,
        link,
        poll,
        closing,
        bell: this.#bell,
        settler: this.#settlerOf(name),
        open: (use) => this.#doors.open(name, use),
        leaseMs: this.#leases.get(name) ?? defaultLeaseMs,
        failed: (error) => failed(name, error),
        opened: (consumer) => {
          const consumers = this.#consumers.get(name) ?? new Set();
          this.#consumers.set(name, consumers.add(consumer));
        },
        closed: (consumer) => void this.#consumers.get(name)?.delete(consumer),
      },
      consume,
    );
    if (this.#isOver) void stream.close();
    return stream;
  }

  #settlerOf(queue: string): Settler {
    const known = this.#settlers.get(queue);
    if (known !== undefined) return known;
    const { closing: signal } = this.#options;
    const settler = new Settler({
      ...{ queue, lingerMs: settleLingerMs, signal },
      settle: (settlement, urgency) => this.#settlements.settle(settlement, urgency),
      hurry: () => this.#settlements.hurry(),
    });
    this.#settlers.set(queue, settler);
    return settler;
  }

  async #ensureEvent(event: string): Promise<void> {
    const owned: readonly string[] = ["exists", "forbidden"];
    try {
      await this.createEvent(event);
    } catch (error) {
      // Somebody else's, or of another kind: whether we may publish to it the ring will say.
      if (!(error instanceof RingpostError) || !owned.includes(error.code)) throw error;
      this.#events.add(event);
    }
  }

  /** One queue per user and event, so that it is found again; named as queues may be. */
  #subscriptionOf(event: string): string {
    const hash = createHash("sha256").update(JSON.stringify([this.#options.user, event]));
    const readable = event.replace(/[^a-z0-9._-]/g, "").slice(0, 24);
    return `sub.${hash.digest("hex").slice(0, 24)}.${readable}`.replace(/\.$/, "");
  }
}
