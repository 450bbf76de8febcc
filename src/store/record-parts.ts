/** How a write is cut into records. */
import type { Body } from "../shared/body.js";
import type { Operation } from "../shared/operation.js";
import { recordLimits } from "./options.js";

export type InlineBody = Extract<Body, { kind: "bytes" }>;
export type FileBody = Extract<Body, { kind: "file" }>;

/** What goes into one record. */
export interface Part {
  readonly operations: readonly Operation[];
  readonly bodies: readonly InlineBody[];
  readonly files: readonly FileBody[];
}

/**
 * One record for a write, unless it is very large. A message goes with its body or after it, so that
 * a torn tail never has a message without its body.
 */
export function split(whole: Part): Part[] {
  const bodies = new Map(whole.bodies.map((body) => [body.digest as string, body]));
  const parts: Part[] = [];
  let current = { operations: [] as Operation[], bodies: [] as InlineBody[] };
  let octets = { header: 0, body: 0 };
  const cut = () => {
    parts.push({ ...current, files: parts.length === 0 ? whole.files : [] });
    current = { operations: [], bodies: [] };
    octets = { header: 0, body: 0 };
  };
  const put = (body: InlineBody) => {
    bodies.delete(body.digest);
    current.bodies.push(body);
    octets.body += body.bytes.length;
  };
  const { splitHeaderOctets, splitBodyOctets } = recordLimits;
  for (const operation of whole.operations) {
    if (octets.header >= splitHeaderOctets || octets.body >= splitBodyOctets) cut();
    const body = operation.kind === "AddMessage" ? bodies.get(operation.message.digest) : undefined;
    if (body !== undefined) put(body);
    current.operations.push(operation);
    // A value or a floor may be large; the others are about a kilobyte.
    octets.header +=
      operation.kind !== "AddMessage" && operation.kind !== "RemoveMessage"
        ? JSON.stringify(operation).length
        : 1_000;
  }
  for (const body of bodies.values()) {
    if (octets.body >= splitBodyOctets) cut();
    put(body);
  }
  if (parts.length === 0 || current.operations.length + current.bodies.length > 0) cut();
  return parts;
}
