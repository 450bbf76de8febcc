/**
 * What publishers and consumers do, the same for every broker; and what can be seen of it. How a message is
 * treated goes by the message and by how often it was handled, not by which consumer has it: so
 * the outcome is the same whoever of several is faster.
 */
import { matches, type Pattern } from "../../src/middleware/broker/routing.js";
import type { Dice } from "../../src/drill/dice.js";
import type { ExchangeType } from "../../src/ebm/index.js";

export type Headers = Readonly<Record<string, string | number | boolean>>;

/** `die`: the consumer's connection ends with all that it holds. */
export type Action = "ack" | "requeue" | "reject" | "die";

export interface ScenarioBinding extends Pattern {
  readonly exchange: string;
  readonly queue: string;
}

export interface ScenarioMessage {
  readonly body: string;
  readonly exchange: string;
  readonly key: string;
  readonly headers: Headers;
  /** At the first handling, the second …; the last one is `ack` or `reject`. */
  readonly plan: readonly Action[];
}

export interface ScenarioQueue {
  readonly name: string;
  readonly consumers: number;
  readonly prefetch: number;
}

export interface Scenario {
  readonly seed: number;
  readonly exchanges: readonly { readonly name: string; readonly type: ExchangeType }[];
  readonly queues: readonly ScenarioQueue[];
  readonly bindings: readonly ScenarioBinding[];
  readonly messages: readonly ScenarioMessage[];
}

const types: readonly ExchangeType[] = ["direct", "fanout", "topic", "headers"];
const words = ["red", "green", "blue"];
const plans: readonly (readonly Action[])[] = [
  ...Array.from({ length: 8 }, (): readonly Action[] => ["ack"]),
  ["requeue", "ack"],
  ["requeue", "requeue", "ack"],
  ["reject"],
  ["requeue", "reject"],
  ["die", "ack"],
  ["die", "reject"],
];

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

export function randomTopic(dice: Dice, patterns: boolean): string {
  const choice = patterns ? [...words, "*", "#", ""] : [...words, ""];
  return range(dice.whole(0, 4))
    .map(() => dice.pick(choice))
    .join(".");
}

export function randomHeaders(dice: Dice): Headers {
  const values = ["x", "y", 1, 2, true, false];
  const names = ["a", "b", "x-c"].filter(() => dice.whole(0, 1) === 1);
  return Object.fromEntries(names.map((name) => [name, dice.pick(values)]));
}

export function randomScenario(seed: number, dice: Dice): Scenario {
  const exchanges = types.map((type) => ({ name: `s${seed}.${type}`, type }));
  const queues = range(dice.whole(2, 4)).map((n) => ({
    name: `s${seed}.q${n}`,
    consumers: dice.whole(1, 3),
    prefetch: dice.pick([1, 1, 4]),
  }));
  const bindings = range(dice.whole(4, 10)).map((): ScenarioBinding => {
    const { name, type } = dice.pick(exchanges);
    const key = type === "topic" ? randomTopic(dice, true) : dice.pick(words);
    const match = dice.pick(["all", "any", "all-with-x", "any-with-x"] as const);
    return {
      exchange: name,
      queue: dice.pick(queues).name,
      key,
      headers: randomHeaders(dice),
      match,
    };
  });
  const messages = range(dice.whole(10, 40)).map((n): ScenarioMessage => {
    const { name, type } = dice.pick(exchanges);
    const key = type === "topic" ? randomTopic(dice, false) : dice.pick(words);
    const headers = randomHeaders(dice);
    return { body: `m${n}`, exchange: name, key, headers, plan: dice.pick(plans) };
  });
  return { seed, exchanges, queues, bindings: withoutDoubles(bindings), messages };
}

const textOf = (binding: ScenarioBinding): string => JSON.stringify(binding);

function withoutDoubles(bindings: readonly ScenarioBinding[]): readonly ScenarioBinding[] {
  return [...new Map(bindings.map((binding) => [textOf(binding), binding])).values()];
}

/** Queues that get a message: one copy each, however many of their bindings match. */
export function queuesOf(scenario: Scenario, message: ScenarioMessage): readonly string[] {
  const { key: routingKey, headers } = message;
  const type = scenario.exchanges.find(({ name }) => name === message.exchange)?.type ?? "direct";
  const hit = scenario.bindings.filter(
    (binding) =>
      binding.exchange === message.exchange && matches(type, binding, { routingKey, headers }),
  );
  return [...new Set(hit.map(({ queue }) => queue))].sort();
}

/** What consumers of one queue saw. */
export interface QueueOutcome {
  /** By message, sorted: its handlings, each with whether it was said to be handed out again. */
  readonly handled: Readonly<Record<string, readonly string[]>>;
  readonly acked: readonly string[];
  readonly dead: readonly string[];
  /** Still there at the end. */
  readonly left: number;
  /** Where there is one consumer and nothing comes twice: the order of all. */
  readonly order: readonly string[] | undefined;
}

export type Outcome = Readonly<Record<string, QueueOutcome>>;
