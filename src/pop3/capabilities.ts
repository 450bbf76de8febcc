import type { AuthMethod } from "./authentication.js";

/** Capabilities that can be hidden from CAPA. */
export type Capability =
  | "TOP"
  | "UIDL"
  | "PIPELINING"
  | "RESP-CODES"
  | "AUTH-RESP-CODE"
  | "UTF8"
  | "EXPIRE"
  | "IMPLEMENTATION";

/** What depends on the state of the session. */
export interface Offer {
  readonly methods: readonly AuthMethod[];
  readonly stls: boolean;
}

/** RFC 2449 §6, RFC 2595 §4, RFC 3206 §6, RFC 5034 §3, RFC 6856 §2. LOGIN-DELAY: there is none. */
export function capabilityLines(
  name: string,
  hidden: ReadonlySet<Capability>,
  { methods, stls }: Offer,
): readonly string[] {
  const lines: string[] = [];
  const offer = (capability: Capability, line: string = capability) => {
    if (!hidden.has(capability)) lines.push(line);
  };
  offer("TOP");
  offer("UIDL");
  if (methods.includes("USER")) lines.push("USER");
  const mechanisms = methods.filter((method) => method !== "USER");
  if (mechanisms.length > 0) lines.push(`SASL ${mechanisms.join(" ")}`);
  if (stls) lines.push("STLS");
  offer("PIPELINING");
  offer("RESP-CODES");
  offer("AUTH-RESP-CODE");
  offer("UTF8", "UTF8 USER");
  offer("EXPIRE", "EXPIRE NEVER");
  offer("IMPLEMENTATION", `IMPLEMENTATION ${name}`);
  return lines;
}
