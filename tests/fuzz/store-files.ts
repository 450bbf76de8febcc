/**
 * A data directory of which one file was damaged while its node was down. Views (and their
 * checkpoint) are only views: everything is there. The journal costs what was hit, and no more:
 * no mail is invented or changed, and the store goes on to take and keep new ones.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { BodyCorruptError } from "../../src/shared/store-errors.js";
import { openStore, type DurableStore } from "../../src/store/index.js";
import {
  add,
  alice,
  bob,
  bodyOf,
  collectLog,
  idOf,
  putRegister,
  remove,
} from "../../src/store/test-values.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated } from "./octets.js";

/** In memory where there is such a place: what a disk takes for its fsyncs is not the question. */
const folder = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
let home = "";
const count = 12;
const contentOf = (n: number) => bodyOf(`mail ${n}\r\n${"x".repeat(n * 40)}\r\n`);
const extra = bodyOf("afterwards");

/** Registers, mails of two mailboxes, deletions, and a restart in between. */
async function write(directory: string): Promise<void> {
  for (const half of [0, 1]) {
    const store = await openStore({ directory, log: collectLog() });
    for (let n = 1 + half * (count / 2); n <= (count / 2) * (half + 1); n += 1) {
      const body = contentOf(n);
      await store.write([add(n % 2 === 0 ? alice : bob, n, body), putRegister(`r${n}`, n)], [body]);
    }
    if (half === 1) await store.write([remove(alice, 2), remove(bob, 3)]);
    await store.close();
  }
}

function filesOf(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(
      (entry) =>
        entry.isFile() &&
        /^(?:journal|views)/.test(join(entry.parentPath, entry.name).slice(directory.length + 1)),
    )
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

type Input = { readonly file: number; readonly damage: Uint8Array; readonly at: number };

export const storeFiles = fuzzer<Input>({
  name: "store-files",
  testRuns: 20,
  inputs: fc.record({
    file: fc.nat(50),
    /** XORed over the file from `at` on; beyond its end the file is cut instead. */
    damage: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 20 }),
      mutated(
        ['{"$$deleted":true,"_id":"k"}\n', "null\n", '{"position":{"segment":9,"offset":1}}'],
        ["\n"],
      ),
    ),
    at: fc.nat(20_000),
  }),
  async open() {
    home = fs.mkdtempSync(join(folder, "ringpost-fuzz-"));
    await write(join(home, "sound"));
  },
  close: async () => fs.rmSync(home, { recursive: true, force: true }),
  async run(input) {
    const directory = join(home, "damaged");
    fs.rmSync(directory, { recursive: true, force: true });
    fs.cpSync(join(home, "sound"), directory, { recursive: true });
    const files = filesOf(directory);
    const name = files[input.file % files.length] ?? "";
    damageFile(join(directory, name), input);
    const isView = name.startsWith("views");
    const store = await openStore({ directory, log: collectLog() });
    await judge(store, isView);
    await store.write([add(alice, 99, extra)], [extra]);
    await store.close();
    const again = await openStore({ directory, log: collectLog() });
    await judge(again, isView, [99]);
    await again.close();
  },
});

function damageFile(path: string, { damage, at }: Input): void {
  const octets = fs.readFileSync(path);
  if (at % 7 === 0) {
    fs.writeFileSync(path, octets.subarray(0, octets.length === 0 ? 0 : at % octets.length));
  } else if (at % 7 === 1) {
    fs.appendFileSync(path, damage);
  } else {
    const from = octets.length === 0 ? 0 : at % octets.length;
    for (const [index, octet] of damage.entries()) {
      const place = from + index;
      if (place < octets.length) octets[place] = (octets[place] ?? 0) ^ octet;
    }
    fs.writeFileSync(path, octets);
  }
}

async function judge(store: DurableStore, isWhole: boolean, more: readonly number[] = []) {
  const live = new Map<string, number>();
  for (let n = 1; n <= count; n += 1) if (n !== 2 && n !== 3) live.set(idOf(n), n);
  // A tombstone that was hit may leave its mail.
  const possible = new Map([...live, [idOf(2), 2] as const, [idOf(3), 3] as const]);
  for (const n of more) possible.set(idOf(n), n);
  const seen = new Set<string>();
  for (const mailbox of [alice, bob]) {
    for (const { id, digest, bodyOctets } of (await store.contents(mailbox)).messages) {
      const n = possible.get(id);
      check(n !== undefined, () => `a mail that nobody sent: ${id}`);
      if (isWhole && n !== 99) check(live.has(id), () => `deleted, and back: ${id}`);
      seen.add(id);
      const body = n === 99 ? extra : contentOf(n);
      check(digest === body.digest && bodyOctets === body.bytes.length, () => `${id} is another`);
      await readBack(store, body, isWhole);
    }
  }
  for (const id of isWhole ? live.keys() : []) check(seen.has(id), () => `lost ${id}`);
  for (const n of more) check(seen.has(idOf(n)), () => `lost what was written afterwards`);
  for (let n = 1; isWhole && n <= count; n += 1) {
    check(store.register(`r${n}`)?.value === n, () => `register r${n} is lost`);
  }
}

async function readBack(store: DurableStore, body: ReturnType<typeof contentOf>, isWhole: boolean) {
  try {
    const bytes = await store.readBody(body.digest);
    if (bytes === undefined) check(!isWhole, () => "a body is lost");
    else check(bytes.equals(body.bytes), () => "another body was served");
  } catch (error) {
    check(error instanceof BodyCorruptError && !isWhole, () => `throws ${String(error)}`);
  }
}
