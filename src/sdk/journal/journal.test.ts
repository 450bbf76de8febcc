import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openJournal } from "./journal.js";

let root = "";
let directory = "";
const user = "ann@ring.test";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "ebm-journal-"));
  directory = join(root, "store");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const put = (journal: Awaited<ReturnType<typeof openJournal>>, count: number, from = 0) =>
  Promise.all(
    Array.from({ length: count }, (_, at) =>
      journal.values.set(`key ${from + at}`, { at: from + at }),
    ),
  );

test("what was written is there again, also behind a torn tail", async () => {
  const first = await openJournal({ directory, user });
  await put(first, 100);
  const { device, epoch } = first.identity;
  await first.close();
  const whole = readFileSync(join(directory, "journal"));
  appendFileSync(join(directory, "journal"), whole.subarray(20, 90));
  const second = await openJournal({ directory, user });
  expect(second.identity).toMatchObject({ device, epoch });
  expect(second.values.keys("key ")).toHaveLength(100);
  expect(second.values.get("key 42")).toEqual({ at: 42 });
  await put(second, 1, 100);
  await second.close();
  expect((await reopened()).values.keys("key ")).toHaveLength(101);

  async function reopened() {
    const journal = await openJournal({ directory, user });
    await journal.close();
    return journal;
  }
});

test("files and directories are the owner's alone", async () => {
  const journal = await openJournal({ directory, user });
  await journal.spool("large", Buffer.alloc(10), 0);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, "spool")).mode & 0o777).toBe(0o700);
  for (const file of ["journal", "spool/large"]) {
    expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
  }
  await journal.close();
});

test("a second one on the same directory is refused, another user's too, until it is closed", async () => {
  const journal = await openJournal({ directory, user });
  const refused = openJournal({ directory, user });
  await expect(refused).rejects.toMatchObject({ code: "store", retryable: false });
  await expect(refused).rejects.toThrow("in use by");
  await journal.close();
  await expect(openJournal({ directory, user: "bob@ring.test" })).rejects.toThrow("belongs to");
  await (await openJournal({ directory, user })).close();
});

test("damage in front of what is durable is told, not cut off", async () => {
  const journal = await openJournal({ directory, user });
  for (let at = 0; at < 5; at += 1) await put(journal, 1, at);
  await journal.close();
  const path = join(directory, "journal");
  const octets = readFileSync(path);
  const at = octets.indexOf("key 1");
  octets[at] = 0x4b;
  writeFileSync(path, octets);
  await expect(openJournal({ directory, user })).rejects.toThrow("is damaged at octet");
});

test("it is written anew when it is mostly of the past, and files that nothing needs go", async () => {
  const journal = await openJournal({ directory, user });
  const text = "x".repeat(100_000);
  for (let at = 0; at < 120; at += 1) await journal.values.set("one", text + at);
  await journal.spool("orphan", Buffer.alloc(10), 0);
  expect(statSync(join(directory, "journal")).size).toBeLessThan(5 * 1024 * 1024);
  await journal.close();
  const again = await openJournal({ directory, user });
  expect(again.values.get("one")).toBe(`${text}119`);
  expect(readdirSync(join(directory, "spool"))).toEqual([]);
  await again.close();
});

test("it is written anew also by programs that live shortly, each of which adds a little", async () => {
  const text = "x".repeat(500_000);
  for (let life = 0; life < 20; life += 1) {
    const journal = await openJournal({ directory, user });
    await journal.values.set("one", text + life);
    await journal.close();
  }
  expect(statSync(join(directory, "journal")).size).toBeLessThan(5 * 1024 * 1024);
});

test("a journal that two close is closed once, and all who wait for that are told", async () => {
  const journal = await openJournal({ directory, user });
  await Promise.all([journal.close(), journal.close()]);
  await journal.close();
  await (await openJournal({ directory, user })).close();
});
