/** Segments of the journal with any damage: nothing invented, and the rest intact. */
import fc from "fast-check";
import type { DiskFile } from "../../src/shared/disk.js";
import { encodeRecord, type RecordHeader } from "../../src/store/record.js";
import { scanSegment } from "../../src/store/segment-scan.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated } from "./octets.js";

const salt = 0x5a17_ca5e;

/** A file in memory, to be read. */
function fileOf(content: Buffer): DiskFile {
  return {
    readSync: (into, position) => content.copy(into, 0, position),
    read: async (into, position) => content.copy(into, 0, position),
    size: () => content.length,
    close: () => undefined,
  } as Partial<DiskFile> as DiskFile;
}

function recordOf(n: number, body: Uint8Array): Buffer {
  const header: RecordHeader = {
    operations: [{ kind: "PutLocal", key: `k${n}`, value: n, version: n }],
    bodies: [["d".repeat(64), body.length]],
    files: [],
  };
  return Buffer.concat(encodeRecord(header, [Buffer.from(body)], salt).buffers);
}

/** What somebody without the salt would write into a mail. */
const forged = Buffer.concat(
  encodeRecord({ operations: [], bodies: [], files: [] }, [Buffer.from("forged")], 0).buffers,
);
const magic = Buffer.from([0x52, 0x70, 0x4a, 0x31]);

const body = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc
    .constantFrom(forged, magic, Buffer.concat([magic, magic, forged]))
    .map((b) => new Uint8Array(b)),
  fc.constant(new Uint8Array(5_000)),
);

const damage = fc.record({
  at: fc.nat(1_000_000),
  xor: fc.integer({ min: 1, max: 255 }),
  run: fc.nat(30),
});

async function scanned(content: Buffer) {
  const found: { offset: number; text: string }[] = [];
  const result = await scanSegment({
    file: fileOf(content),
    from: 0,
    size: content.length,
    salt,
    visit: ({ offset, header, body: octets }) => {
      found.push({ offset, text: `${JSON.stringify(header)} ${octets.toString("latin1")}` });
    },
  });
  check(result.end <= content.length, () => "ends behind the end");
  return found;
}

export const journalScan = fuzzer({
  name: "journal-scan",
  testRuns: 1_500,
  inputs: fc.record({
    bodies: fc.array(body, { minLength: 1, maxLength: 8 }),
    damages: fc.array(damage, { maxLength: 4 }),
    /** Octets that the end lacks. */
    torn: fc.oneof(fc.constant(0), fc.nat(200)),
  }),
  async run({ bodies, damages, torn }) {
    const records = bodies.map((octets, index) => recordOf(index, octets));
    const whole = Buffer.concat(records);
    const damaged = Buffer.from(whole);
    for (const { at, xor, run } of damages) {
      for (let step = 0; step <= run; step += 1) {
        const place = (at % whole.length) + step;
        // Set, not changed, so that two damages do not undo each other.
        if (place < whole.length) damaged[place] = (whole[place] ?? 0) ^ xor;
      }
    }
    const content = damaged.subarray(0, Math.max(whole.length - torn, 0));
    const found = await scanned(content);
    const written = await scanned(whole);
    check(written.length === records.length, () => "not all that was written is read");
    const known = new Set(written.map(({ offset, text }) => `${offset} ${text}`));
    for (const { offset, text } of found) {
      check(known.has(`${offset} ${text}`), () => `never written: ${text.slice(0, 200)}`);
    }
    const offsets = new Set(found.map(({ offset }) => offset));
    let offset = 0;
    for (const [index, record] of records.entries()) {
      const end = offset + record.length;
      const isIntact = end <= content.length && content.subarray(offset, end).equals(record);
      if (isIntact)
        check(offsets.has(offset), () => `record ${index} at ${offset} is intact, and gone`);
      offset = end;
    }
  },
});

const segment = Buffer.concat([1, 2, 3, 4].map((n) => recordOf(n, Buffer.alloc(40, n))));
const originals = new Set(
  [1, 2, 3, 4].map((n) => recordOf(n, Buffer.alloc(40, n)).toString("latin1")),
);

/** Octets moved, repeated, cut out: whatever is found was once written, as a whole. */
export const journalSplice = fuzzer({
  name: "journal-splice",
  testRuns: 1_000,
  inputs: mutated([segment], [magic.toString("latin1"), forged.toString("latin1")]),
  async run(octets) {
    const content = Buffer.from(octets);
    for (const { offset } of await scanned(content)) {
      const isOriginal = [...originals].some((text) =>
        content.subarray(offset, offset + text.length).equals(Buffer.from(text, "latin1")),
      );
      check(isOriginal, () => `never written: a record at ${offset}`);
    }
  },
});
