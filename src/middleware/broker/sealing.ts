/** What an intention comes to: sealed mails, and the copies of them. Deterministic. */
import type { KeyObject } from "node:crypto";
import {
  composeMail,
  connectionId,
  type DataFrame,
  type Origin,
  sealPacket,
} from "../../ebm/index.js";
import type { Copy } from "../../replication/delivery.js";
import type { BodyDigest } from "../../shared/ids.js";
import { type EntryFacts, fingerprintOfEntry, standardPriority, traceOf } from "./entry.js";
import type { Destination, Intention, PlannedBody } from "./flow.js";
import { entryId } from "./planning.js";

export interface SealOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly intention: Intention;
  /** Those that the intention covers. */
  readonly frames: readonly DataFrame[];
  readonly origin: Origin;
  readonly privateKey: KeyObject;
}

/** Entries are read when they are read. */
const readableMs = 100 * 365 * 24 * 60 * 60 * 1_000;

const framesOf = ({ runs }: PlannedBody, frames: readonly DataFrame[]): readonly DataFrame[] =>
  runs.flatMap(([first, count]) => frames.slice(first, first + count));

/** The mail of one body of the intention. */
export function sealBody(body: PlannedBody, options: SealOptions): Buffer {
  const { domain, intention, frames, origin, privateKey } = options;
  const { takenAtMs, kid, nonce, destinations } = intention;
  const ring = { user: `ring@${domain}`, device: kid, epoch: 0 };
  const [only, another] = body.to.map((to) => destinations[to]);
  const first = body.runs[0]?.[0] ?? 0;
  // One mail lies in many queues, which it can't name all.
  const to = only && !another ? `queue:${only.queue}` : "queue:*";
  const connection = connectionId(ring, to);
  const packet = intention.idMs + first;
  const sealed = sealPacket({
    header: { connection, packet, from: ring, to, expiresAtMs: takenAtMs + readableMs },
    frames: framesOf(body, frames).map((frame) => entryFrame(frame, origin)),
    privateKey,
  });
  return composeMail({
    from: ring.user,
    to: `ring+data@${domain}`,
    index: { connection, packet, type: "data" },
    messageId: `${nonce}.${first}@${domain}`,
    date: new Date(takenAtMs),
    packet: sealed,
  });
}

/** Nothing but what the intention's digest is of. */
function entryFrame(frame: DataFrame, origin: Origin): DataFrame {
  const { stream, sequence, id, offset, size, digest, properties, octets } = frame;
  const { void: isVoid } = frame;
  return {
    ...{ kind: "data", stream, sequence, id, offset, size, octets, origin },
    ...(digest !== undefined && { digest }),
    ...(properties && { properties }),
    ...(isVoid !== undefined && { void: isVoid }),
  };
}

/** Of one body, in each of its queues. */
export function copiesOf(
  body: PlannedBody,
  mail: { readonly digest: BodyDigest; readonly octets: number },
  { domain, intention, frames }: Pick<SealOptions, "domain" | "intention" | "frames">,
): readonly (Copy & { readonly destination: Destination })[] {
  const { takenAtMs, coordinator, destinations } = intention;
  const facts = factsOf(framesOf(body, frames));
  return body.to.flatMap((number) => {
    const destination = destinations[number];
    if (!destination) return [];
    const { queue, incarnation, mailbox } = destination;
    const id = entryId(intention, body, destination);
    const trace = traceOf({
      ...{ domain, queue, id, receivedAtMs: takenAtMs },
      facts: { ...facts, incarnation },
    });
    const message = {
      ...{ id, digest: mail.digest, bodyOctets: mail.octets, trace },
      ...{ receivedAtMs: takenAtMs, coordinator },
      fingerprint: fingerprintOfEntry(id),
    };
    return [{ mailbox, message, destination }];
  });
}

function factsOf(frames: readonly DataFrame[]): Omit<EntryFacts, "incarnation"> {
  const properties = frames.map((frame) => frame.properties);
  const { priority = standardPriority, deliverAtMs } = properties[0] ?? {};
  // A batch is dead when the last of its messages is; its reader looks at each.
  const ends = properties.map((each) => each?.expiresAtMs ?? Number.POSITIVE_INFINITY);
  const expiresAtMs = Math.max(...ends);
  return {
    messages: frames.length,
    priority,
    ...(deliverAtMs !== undefined && { deliverAtMs }),
    ...(Number.isFinite(expiresAtMs) && { expiresAtMs }),
  };
}
