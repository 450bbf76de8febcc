/** Which bindings a message matches. Pure. */
import type { ExchangeType, HeadersMatch, MessageProperties } from "../../ebm/index.js";

type Headers = NonNullable<MessageProperties["headers"]>;

/** What a binding of an exchange asks for. */
export interface Pattern {
  readonly key: string;
  readonly headers: Headers;
  readonly match: HeadersMatch;
}

export interface Routed {
  readonly routingKey?: string;
  readonly headers?: Headers;
}

/** As AMQP 0-9-1 §3.1.3 has it. */
export function matches(type: ExchangeType, pattern: Pattern, message: Routed): boolean {
  const { routingKey = "", headers = {} } = message;
  switch (type) {
    case "direct":
      return pattern.key === routingKey;
    case "fanout":
      return true;
    case "topic":
      return matchesTopic(pattern.key, routingKey);
    case "headers":
      return matchesHeaders(pattern, headers);
  }
}

/** The empty key has no words, as in RabbitMQ. */
const wordsOf = (key: string): readonly string[] => (key === "" ? [] : key.split("."));

/** Words by dots; `*` is one word, `#` zero or more. Time: words of one times words of the other. */
export function matchesTopic(pattern: string, key: string): boolean {
  const words = wordsOf(key);
  // reached[i]: the pattern so far matches the first i words.
  let reached = words.map(() => false);
  reached.unshift(true);
  for (const part of wordsOf(pattern)) {
    const next = reached.map(() => false);
    for (let i = 0; i < reached.length; i += 1) {
      if (part === "#") next[i] = reached[i] === true || (i > 0 && next[i - 1] === true);
      else if (i > 0 && (part === "*" || part === words[i - 1])) next[i] = reached[i - 1] === true;
    }
    reached = next;
  }
  return reached[words.length] === true;
}

function matchesHeaders({ headers: wanted, match }: Pattern, headers: Headers): boolean {
  const isThere = ([name, value]: [string, string | number | boolean]): boolean =>
    Object.hasOwn(headers, name) && headers[name] === value;
  // RabbitMQ, "AMQP 0-9-1 Model Explained", headers exchange: `any` and `all` pass over `x-…`.
  const withX = match === "all-with-x" || match === "any-with-x";
  const entries = Object.entries(wanted).filter(([name]) => withX || !name.startsWith("x-"));
  const isAll = match === "all" || match === "all-with-x";
  return isAll ? entries.every(isThere) : entries.some(isThere);
}
