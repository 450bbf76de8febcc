/** The shortest list of records that comes to a state. */
import { encodeRecord, type JournalRecord, type Part } from "./records.js";
import type { Content } from "./content.js";
import type { InMessage, InStream } from "./in-state.js";
import type { OutMessage } from "./out-state.js";
import type { JournalState } from "./state.js";

export function* snapshot(state: JournalState): Iterable<readonly Buffer[]> {
  if (state.identity) yield encodeRecord(state.identity);
  for (const [connection, upTo] of state.reserved) {
    yield encodeRecord({ kind: "reserve", connection, upTo });
  }
  for (const [to, peer] of state.peers) yield encodeRecord({ kind: "peer", to, ...peer });
  for (const [to, trip] of state.trips) yield encodeRecord({ kind: "trip", to, trip });
  for (const { facts, content } of state.letters.values()) {
    yield withContent({ kind: "letter", letter: facts }, content);
  }
  for (const streams of state.out.values()) {
    for (const { to, stream, next, messages } of streams.values()) {
      for (const message of messages.values()) yield outRecord(message);
      yield encodeRecord({ kind: "outStream", to, stream, next });
    }
  }
  for (const { connection, origin, seen } of state.connections.values()) {
    yield encodeRecord({ kind: "inConnection", connection, origin, seen: seen.ranges });
  }
  for (const stream of state.in.values()) yield* inRecords(stream);
  for (const [key, { ranges }] of state.entries) yield encodeRecord({ kind: "entry", key, ranges });
  for (const [key, value] of state.values) yield encodeRecord({ kind: "value", key, value });
}

function withContent(record: JournalRecord, content: Content): readonly Buffer[] {
  if ("octets" in content) return encodeRecord(record, content.octets);
  return encodeRecord({ ...record, file: content.file } as JournalRecord);
}

function outRecord({ content, acked, isRemoved: _, ...message }: OutMessage): readonly Buffer[] {
  const octets = acked && { acked: acked.ranges };
  return withContent({ kind: "out", ...message, ...octets }, content);
}

function* inRecords(stream: InStream): Iterable<readonly Buffer[]> {
  const { key, settled, base, dead, messages } = stream;
  yield encodeRecord({ kind: "inStream", key, settled: settled.ranges, base, dead });
  for (const message of messages.values()) {
    const { have, handed, content } = message;
    const part = partOf(stream, message);
    const record = { kind: "inMessage", key, part, have: have.ranges, handed } as const;
    yield "octets" in content
      ? encodeRecord(record, content.octets)
      : encodeRecord({ ...record, part: { ...part, file: content.file } });
  }
}

function partOf(
  { stream }: InStream,
  { id, sequence, size, digest, properties, content, isWhole }: InMessage,
): Part {
  const isThere = "octets" in content || isWhole;
  return {
    ...{ stream, sequence, id, size, offset: 0, octets: isThere ? size : 0 },
    ...(digest !== undefined && { digest }),
    ...(properties !== undefined && { properties }),
  };
}
