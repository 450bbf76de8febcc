import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseConf, readConfFile } from "./conf-file.js";

const folder = mkdtempSync(join(tmpdir(), "ringpost-conf-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("values become what the command line would have given", () => {
  const text = `{
    "id": 1461501637330902918203684832716283019655932542975,
    "entry": ["a:1", "b:2"],
    "max-message": "10M"
  }`;
  expect(parseConf("c", text).map(({ key, text: given }) => [key, given])).toEqual([
    ["id", "1461501637330902918203684832716283019655932542975"],
    ["entry", "a:1,b:2"],
    ["max-message", "10M"],
  ]);
});

test("limits are an object of their own", () => {
  const text = '{ "limits": {\n "pop3-idle-time": 900,\n "smtp-data-block-octets": "2K" } }';
  expect(parseConf("c", text)).toEqual([
    { key: "limit", text: "pop3-idle-time=900", origin: 'c:2: limits: "pop3-idle-time" 900' },
    {
      key: "limit",
      text: "smtp-data-block-octets=2K",
      origin: 'c:3: limits: "smtp-data-block-octets" "2K"',
    },
  ]);
});

describe("what is wrong, with the file, the line and the key", () => {
  test.each([
    ['{\n"bit": 3}', 'c:2: unknown key "bit"; did you mean "bits"?'],
    ['{"evictAfter": 3}', 'c:1: unknown key "evictAfter"; did you mean "evict-after"?'],
    ['{"--bits": 3}', 'c:1: unknown key "--bits"; did you mean "bits"?'],
    ['{"frobnicate": 3}', /^c:1: unknown key "frobnicate"; known keys: id, addr, bits, /],
    ['{"bits": "3"}', 'c:1: "bits" must be a number, not a text'],
    ['{"bits": null}', 'c:1: "bits" must be a number, not null'],
    ['{"addr": 5000}', 'c:1: "addr" must be a text in double quotes, not a number'],
    ['{"id": true}', 'c:1: "id" must be a number or a text in double quotes, not true'],
    ['{"entry": []}', /^c:1: "entry" must be .* or a list of texts, not an empty list$/],
    ['{"entry": [5000]}', /^c:1: "entry" must be .* or a list of texts, not a list$/],
    ['{"data": {}}', 'c:1: "data" must be a text in double quotes, not an object'],
    ['{"limits": 3}', 'c:1: "limits" must be an object, not a number'],
    ['{"limit": {}}', 'c:1: unknown key "limit"; did you mean "limits"?'],
    [
      '{"limits": {\n"pop3-errors": true}}',
      'c:2: limits: "pop3-errors" must be a number, or a size as "64K", not true',
    ],
    ["[]", "c:1: must be one { … } with options as its keys"],
    ['{\n  "bits": 3,,\n}', 'c:2:13: expected "key" or }, found ","'],
  ])("%s", (text, message) => {
    expect(() => parseConf("c", text)).toThrow(message);
  });
});

describe("files that can't be read", () => {
  test("missing", async () => {
    const path = join(folder, "missing");
    const message = `--conf ${path}: there is no such file; check the path`;
    await expect(readConfFile(path)).rejects.toThrow(message);
  });

  test("a directory", async () => {
    await expect(readConfFile(folder)).rejects.toThrow("is a directory, name a file");
  });

  test("too large", async () => {
    const path = join(folder, "large");
    writeFileSync(path, Buffer.alloc(1024 * 1024 + 1, " "));
    await expect(readConfFile(path)).rejects.toThrow("is larger than 1 MiB");
  });

  test("below something that is no directory", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "{}");
    await expect(readConfFile(join(file, "conf"))).rejects.toThrow("can't be read (ENOTDIR)");
  });
});
