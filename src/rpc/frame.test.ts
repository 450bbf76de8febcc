import { fileURLToPath } from "node:url";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFrame, encodeHello, encodeItems, outgoingItem } from "./frame.js";
import { MalformedFrameError } from "./wire.js";

/** The codec that protobufjs makes from the .proto: the reference for ours. */
const proto = fileURLToPath(new URL("./ringpost.proto", import.meta.url));
const definitions = loadSync(proto, { defaults: true });
const reference = (definitions["ringpost.v1.Peer"] as ServiceDefinition)["Exchange"];
if (reference === undefined) throw new Error("no Exchange");

const buffers = fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets));
const ids = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 28, 2 ** 32 - 1),
);
const items = fc.record({
  kind: fc.constantFrom("call" as const, "answer" as const),
  id: ids,
  text: fc.string({ unit: "grapheme" }),
  header: fc.json(),
  blobs: fc.array(buffers, { maxLength: 4 }),
  waitMs: fc.integer({ min: 0, max: 2 ** 31 }),
});

interface PlainPart {
  readonly id: number;
  readonly blobs: readonly Buffer[];
  readonly header: Buffer;
}

function plain(part: PlainPart) {
  return {
    ...part,
    header: part.header.toString(),
    blobs: part.blobs.map((b) => b.toString("hex")),
  };
}

describe("frames are what ringpost.proto says", () => {
  test("what we encode, protobufjs reads, and we read the same", () => {
    fc.assert(
      fc.property(fc.array(items, { maxLength: 20 }), fc.nat(), (parts, sentMs) => {
        const outgoing = parts.map(({ waitMs, ...part }) =>
          outgoingItem({ ...part, deadlineAtMs: sentMs + waitMs }),
        );
        const bytes = encodeItems(outgoing, sentMs);
        const theirs = reference.requestDeserialize(bytes) as ReturnType<typeof decodeFrame>;
        const ours = decodeFrame(bytes);
        expect(ours.calls.map(plain)).toEqual(theirs.calls.map(plain));
        expect(ours.answers.map(plain)).toEqual(theirs.answers.map(plain));
        expect([ours.sentMs, theirs.sentMs]).toEqual([sentMs, sentMs]);
        const calls = parts.filter(({ kind }) => kind === "call");
        expect(ours.calls.map(plain)).toEqual(
          calls.map(({ id, text, header, blobs, waitMs }) =>
            plain({
              id,
              method: text,
              header: Buffer.from(header),
              blobs,
              deadlineMs: waitMs,
            } as PlainPart),
          ),
        );
      }),
    );
  });

  test("what protobufjs encodes, we read; fields of a later version are passed over", () => {
    fc.assert(
      fc.property(fc.array(items, { maxLength: 20 }), (parts) => {
        const calls = parts.map(({ id, text, header, blobs, waitMs }) => ({
          id,
          method: text,
          header: Buffer.from(header),
          blobs,
          deadlineMs: waitMs,
        }));
        const later = Buffer.from([0x78, 0x96, 0x01, 0x7a, 2, 9, 9, 0x7d, 1, 2, 3, 4]);
        const bytes = Buffer.concat([reference.requestSerialize({ calls, sentMs: 1.5 }), later]);
        expect(decodeFrame(bytes).calls.map(plain)).toEqual(calls.map(plain));
      }),
    );
  });

  test("hello", () => {
    const hello = { version: 300, uuid: "ü", addr: "h:1", ring: "x".repeat(200) };
    const bytes = encodeHello(hello, 7);
    expect(decodeFrame(bytes)).toEqual({ calls: [], answers: [], hello, sentMs: 7 });
    expect(reference.requestDeserialize(bytes)).toMatchObject({ hello, sentMs: 7 });
  });
});

describe("bytes that are no frame", () => {
  test("cut short or changed, they decode or are called malformed, nothing else", () => {
    const changes = fc.array(fc.tuple(fc.nat(2_000), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(items, { maxLength: 5 }),
        fc.nat(2_000),
        changes,
        (parts, cut, edits) => {
          const outgoing = parts.map((part) => outgoingItem({ ...part, deadlineAtMs: 0 }));
          const bytes = encodeItems(outgoing, 1);
          for (const [at, octet] of edits) bytes[at % bytes.length] = octet;
          try {
            decodeFrame(bytes.subarray(0, cut));
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedFrameError);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  const bombs: [string, Buffer, RegExp][] = [
    ["a million empty calls", Buffer.alloc(2_000_000, Buffer.from([0x0a, 0])), /too many parts/],
    ["a call of a million empty blobs", bombOfBlobs(1_000_000), /too many blobs/],
    ["a length beyond the end", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), /cut short/],
    ["a varint without end", Buffer.alloc(20, 0xff), /varint too long/],
    ["a group, which proto3 has not", Buffer.from([0x0b]), /wrong wire type/],
  ];
  test.each(bombs)("%s is malformed", (_name, bytes, reason) => {
    expect(() => decodeFrame(bytes)).toThrow(MalformedFrameError);
    expect(() => decodeFrame(bytes)).toThrow(reason);
  });
});

function bombOfBlobs(count: number): Buffer {
  const content = Buffer.alloc(count * 2, Buffer.from([0x22, 0]));
  // 2,000,000 as a varint.
  const head = Buffer.from([0x0a, 0x80, 0x89, 0x7a]);
  expect(content.length).toBe(2_000_000);
  return Buffer.concat([head, content]);
}
