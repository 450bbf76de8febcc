import type * as fs from "node:fs/promises";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { IncomingBody } from "./incoming-body.js";
import { silentLog } from "./testing.js";
import { temporaryFolder } from "./testing-folders.js";

const disk = vi.hoisted(() => ({ error: "" }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  const open: typeof real.open = async (...args) => {
    const file = await real.open(...args);
    const append = file.appendFile.bind(file);
    file.appendFile = async (...what) => {
      if (disk.error !== "") throw Object.assign(new Error("disk"), { code: disk.error });
      await append(...what);
    };
    return file;
  };
  return { ...real, open };
});

async function body(inlineOctetsMax?: number) {
  const spool = temporaryFolder("body");
  const memory = { octets: 0 };
  const limits = {
    messageOctetsMax: 1_000,
    headerOctetsMax: 500,
    inlineBodyOctetsMax: 10,
    bodyMemoryOctetsMax: 100,
  };
  const spoolPath = () => path.join(spool, "one");
  const context = { limits, log: silentLog, spoolPath, memory };
  return { spool, memory, body: new IncomingBody(context, inlineOctetsMax) };
}

test.each([
  ["ENOSPC", "full"],
  ["EDQUOT", "full"],
  ["EIO", "failed"],
])("%s while spooling is `%s`, and nothing is left", async (code, refusal) => {
  const { spool, memory, body: incoming } = await body();
  disk.error = "";
  await incoming.write(Buffer.from("12345"));
  await incoming.write(Buffer.from("1234567890"));
  expect(await readdir(spool)).toEqual(["one"]);
  disk.error = code;
  await incoming.write(Buffer.from("1"));
  disk.error = "";
  await incoming.write(Buffer.from("2"));
  expect(await incoming.finish()).toBe(refusal);
  expect(await readdir(spool)).toEqual([]);
  expect(memory.octets).toBe(0);
});

test("memory is counted while it is held, and given back once", async () => {
  const { memory, body: incoming } = await body();
  void incoming.write(Buffer.from("12345"));
  expect(memory.octets).toBe(5);
  void incoming.write(Buffer.from("678"));
  expect(memory.octets).toBe(10);
  expect(await incoming.finish()).toMatchObject({ kind: "bytes", bytes: Buffer.from("12345678") });
  incoming.release();
  incoming.release();
  expect(memory.octets).toBe(0);
});

test("what is read whole at once is kept in memory longer, as long as there is room", async () => {
  const { spool, memory, body: incoming } = await body(60);
  for (let n = 0; n < 5; n += 1) expect(incoming.write(Buffer.alloc(10, `${n}`))).toBe(undefined);
  expect(memory.octets).toBe(60);
  await incoming.write(Buffer.alloc(11, "x"));
  expect(await readdir(spool)).toEqual(["one"]);
  expect(memory.octets).toBe(0);
  await incoming.discard();
});
