/** Frames of ringpost.proto: our codec beside protobufjs and beside the encoding's specification. */
import { fileURLToPath } from "node:url";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import fc from "fast-check";
import { bounds } from "../../src/rpc/bounds.js";
import { decodeFrame, encodeItems, outgoingItem, type ReceivedFrame } from "../../src/rpc/frame.js";
import { MalformedFrameError } from "../../src/rpc/wire.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated, tokenSoup } from "./octets.js";

const proto = fileURLToPath(new URL("../../src/rpc/ringpost.proto", import.meta.url));
const peer = loadSync(proto, { defaults: true })["ringpost.v1.Peer"] as ServiceDefinition;
const reference = peer["Exchange"];

const item = fc.record({
  kind: fc.constantFrom("call" as const, "answer" as const),
  id: fc.oneof(fc.nat(0xff), fc.integer({ min: 0, max: 0xffff_ffff })),
  text: fc.string({ unit: "grapheme", maxLength: 20 }),
  header: fc.json({ maxDepth: 2 }),
  blobs: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }),
  waitMs: fc.nat(),
});

const seeds = [
  encodeItems(
    [
      outgoingItem({
        ...{ kind: "call", id: 7, text: "replicate", header: '{"epoch":1}' },
        blobs: [Buffer.from("body"), Buffer.alloc(0)],
        deadlineAtMs: 2_000,
      }),
      outgoingItem({
        ...{ kind: "answer", id: 300, text: "", header: "{}", blobs: [], deadlineAtMs: 0 },
      }),
    ],
    1_000,
  ),
  // Fields of a later version, and a hello.
  Buffer.from([0x78, 0x96, 0x01, 0x7a, 2, 9, 9, 0x7d, 1, 2, 3, 4, 0x1a, 4, 8, 1, 0x12, 0]),
];
const tokens = [
  "\x0a\x00",
  "\x22\x00",
  "\xff\xff\xff\xff\x0f",
  "\x80",
  "\x12\x02ab",
  "\x0b",
  "\x21",
];

type Item = typeof item extends fc.Arbitrary<infer T> ? T : never;

export const ringFrame = fuzzer<{ items?: Item[]; octets?: Uint8Array }>({
  name: "ring-frame",
  testRuns: 2_000,
  inputs: fc.oneof(
    fc.record({ items: fc.array(item, { maxLength: 8 }) }),
    fc.record({
      octets: fc.oneof(
        mutated(seeds, tokens),
        tokenSoup(tokens),
        fc.uint8Array({ maxLength: 200 }),
      ),
    }),
  ),
  run({ items, octets }) {
    if (items) return asWritten(items);
    anyOctets(Buffer.from(octets ?? new Uint8Array()));
  },
});

function asWritten(items: readonly Item[]): void {
  const outgoing = items.map(({ waitMs, blobs, ...rest }) =>
    outgoingItem({
      ...rest,
      blobs: blobs.map((blob) => Buffer.from(blob)),
      deadlineAtMs: 5 + waitMs,
    }),
  );
  const bytes = encodeItems(outgoing, 5);
  const [ours, theirs] = [plain(decodeFrame(bytes)), plain(reference?.requestDeserialize(bytes))];
  check(ours === theirs, () => `${ours}, but protobufjs reads ${theirs}`);
  const written = items.map(({ kind, id, text, header, blobs }) => [
    ...[kind, id, text, header],
    blobs.map((blob) => Buffer.from(blob).toString("hex")),
  ]);
  const decoded = decodeFrame(bytes);
  const read = [
    ...decoded.calls.map((call) => ["call", call.id, call.method, ...contents(call)]),
    ...decoded.answers.map((answer) => ["answer", answer.id, answer.failure, ...contents(answer)]),
  ];
  written.sort((a, b) => (a[0] === b[0] ? 0 : a[0] === "call" ? -1 : 1));
  check(JSON.stringify(read) === JSON.stringify(written), () => "not what was written");
}

function contents({ header, blobs }: { header: Buffer; blobs: readonly Buffer[] }) {
  return [header.toString(), blobs.map((blob) => blob.toString("hex"))];
}

/** They are a frame as the specification reads it, or they are called malformed. */
function anyOctets(octets: Buffer): void {
  let frame: ReceivedFrame;
  try {
    frame = decodeFrame(octets);
  } catch (error) {
    check(error instanceof MalformedFrameError, () => `throws ${String(error)}`);
    return;
  }
  const parts = [...frame.calls, ...frame.answers];
  const blobs = parts.flatMap((part) => [...part.blobs, part.header]);
  const held = blobs.reduce((sum, blob) => sum + blob.length, 0);
  check(held <= octets.length, () => `${octets.length} octets became ${held}`);
  for (const blob of blobs) {
    check(blob.length === 0 || blob.buffer === octets.buffer, () => "a copy instead of a view");
  }
  check(parts.length <= bounds.framePartsMax, () => `${parts.length} parts`);
  const fields = specified(octets);
  check(fields !== undefined, () => "read, although it is malformed");
  const ids = (number: number) =>
    fields.flatMap(({ field, value }) => {
      if (field !== number || !Buffer.isBuffer(value)) return [];
      const id = specified(value)?.findLast((inner) => inner.field === 1)?.value ?? 0n;
      return [typeof id === "bigint" ? Number(BigInt.asUintN(32, id)) : -1];
    });
  const [calls, answers] = [frame.calls.map(({ id }) => id), frame.answers.map(({ id }) => id)];
  check(String(calls) === String(ids(1)), () => `calls ${calls}, not ${ids(1)}`);
  check(String(answers) === String(ids(2)), () => `answers ${answers}, not ${ids(2)}`);
}

interface Field {
  readonly field: number;
  readonly value: bigint | Buffer;
}

/** The protobuf encoding, slowly. Undefined: malformed. */
function specified(octets: Buffer): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint | undefined => {
    let value = 0n;
    for (let count = 0; count < 10; count += 1) {
      const octet = octets[at++];
      if (octet === undefined) return undefined;
      value |= BigInt(octet & 0x7f) << BigInt(7 * count);
      if (octet < 0x80) return value;
    }
    return undefined;
  };
  while (at < octets.length) {
    const tag = varint();
    if (tag === undefined) return undefined;
    const key = Number(BigInt.asUintN(32, tag));
    const [field, type] = [key >>> 3, key & 7];
    let value: bigint | Buffer | undefined;
    if (type === 0) value = varint();
    else {
      const length = type === 1 ? 8n : type === 5 ? 4n : type === 2 ? varint() : undefined;
      if (length === undefined) return undefined;
      const octetCount = Number(BigInt.asUintN(32, length));
      if (octetCount > octets.length - at) return undefined;
      value = octets.subarray(at, at + octetCount);
      at += octetCount;
    }
    if (value === undefined || field === 0) return undefined;
    fields.push({ field, value });
  }
  return fields;
}

function plain(frame: unknown): string {
  const { calls, answers, sentMs } = frame as ReceivedFrame;
  return JSON.stringify([
    calls.map((call) => [call.id, call.method, call.deadlineMs, ...contents(call)]),
    answers.map((answer) => [answer.id, answer.failure, ...contents(answer)]),
    sentMs,
  ]);
}
