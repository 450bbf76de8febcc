import { expect, test } from "vitest";
import type { NodeConfig } from "../config/index.js";
import type { FoundMember } from "../discovery/index.js";
import { formatJoinToken, makeJoinToken } from "../secrets/join-token.js";
import { toldOnLan, withFoundEntries } from "./discovery.js";

const config = (more: object = {}) =>
  ({
    ...{ findEntries: true, entries: [], domain: "ring.test", addr: "10.0.0.9:5000" },
    ...{ bits: 16, replicas: 2, ring: { host: "10.0.0.9", port: 5000 } },
    ...more,
  }) as unknown as NodeConfig;
const member = (addr: string, ring: string): FoundMember => ({
  ...{ ring: ring.repeat(32), domain: "ring.test", bits: 16, replicas: 2, addr },
  ...{ smtp: "10.0.0.1:25", pop3: "10.0.0.1:110" },
});
const finding =
  (...found: FoundMember[]) =>
  async () =>
    found;

test("members of one ring are the entries, without the joiner itself", async () => {
  const all = [member("a:1", "a"), member("b:1", "a"), member("10.0.0.9:5000", "a")];
  const { entries } = await withFoundEntries(config(), false, finding(...all));
  expect(entries).toEqual(["a:1", "b:1"]);
});

test("several rings are refused with a list, unless a token says which", async () => {
  const all = finding(member("a:1", "a"), member("b:1", "b"));
  await expect(withFoundEntries(config(), false, all)).rejects.toThrow(
    "2 rings for ring.test answer on the LAN: a:1 (ring aaaaaaaa), b:1 (ring bbbbbbbb); name",
  );
  const token = formatJoinToken(makeJoinToken(Buffer.alloc(32, 0xbb)));
  expect((await withFoundEntries(config({ token }), false, all)).entries).toEqual(["b:1"]);
});

test("nobody there is an error, never a new ring; who is a member looks for nobody", async () => {
  await expect(withFoundEntries(config(), false, finding())).rejects.toThrow(
    /no member of a ring for ring\.test answers on the LAN .* --entry host:port/,
  );
  const unused = () => Promise.reject(new Error("was asked"));
  expect(await withFoundEntries(config(), true, unused)).toEqual(config());
  expect(await withFoundEntries(config({ findEntries: false }), false, unused)).toMatchObject({
    entries: [],
  });
});

test("what is told: addresses that others can call, and no listener that is off", () => {
  const told = toldOnLan(config(), "", { smtp: "0.0.0.0:25", pop3: "[::]:110", pop3s: "a.b:995" });
  expect(told).toMatchObject({
    ...{ smtp: "10.0.0.9:25", pop3: "10.0.0.9:110", pop3s: "a.b:995", addr: "10.0.0.9:5000" },
  });
  expect(Object.keys(told)).not.toContain("submission");
});
