import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AdminError } from "../shared/admin.js";
import { openEntry } from "./entry.js";
import { type FakeMember, fakeWorld } from "./testing.js";
import { ensureAccounts, ensurePostmaster, trialAccounts } from "./up-accounts.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ringpost-accounts-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("passwords are made once, kept for their owner alone, and never the same twice", async () => {
  const first = await trialAccounts(folder);
  expect(first.map(({ name }) => name)).toEqual(["alice", "bob"]);
  for (const { password } of first) expect(password).toMatch(/^[a-z2-9]{4}(-[a-z2-9]{4}){3}$/);
  expect(first[0]?.password).not.toBe(first[1]?.password);
  expect(await trialAccounts(folder)).toEqual(first);
  const path = join(folder, "accounts.json");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(first);
});

test.each(["", "{}", "[]", '[{"name":"alice"}]', "null"])("a damaged file (%s)", async (text) => {
  writeFileSync(join(folder, "accounts.json"), text);
  await expect(trialAccounts(folder)).rejects.toThrow(/is damaged; delete it/);
});

test("the ring gets what the file says, even where it had another password", async () => {
  const passwords = new Map([["alice", "other"]]);
  let early = 1;
  const member: FakeMember = {
    userAdd: ({ name, password }) => {
      if (early-- > 0) return new AdminError("unavailable", "no majority yet");
      if (passwords.has(name)) return new AdminError("exists", "there is one");
      passwords.set(name, password);
      return { mailbox: name };
    },
    userPasswd: ({ name, password }) => {
      passwords.set(name, password);
      return { mailbox: name };
    },
  };
  const world = fakeWorld({ members: { "a:1": member } });
  const accounts = await trialAccounts(folder);
  const entry = await openEntry(world, { entry: "a:1" });
  const signal = new AbortController().signal;
  await ensureAccounts(entry, accounts, { deadlineMs: 60_000, signal });
  expect([...passwords]).toEqual(accounts.map(({ name, password }) => [name, password]));
});

test.each([
  ["gets its mail when nobody does", [], undefined, ["alice"]],
  ["stays whose it is", [{ alias: "postmaster@ring.test", targets: ["bob"] }], undefined, []],
  ["may be an account", [], "exists" as const, []],
])("postmaster %s", async (_, aliases, refusal, expected) => {
  const added: string[] = [];
  let early = 1;
  const member: FakeMember = {
    domainList: () => ({ domains: ["ring.test", "second.test"] }),
    aliasList: () => ({ aliases, complete: true }),
    aliasAdd: ({ alias, targets }) => {
      if (early-- > 0) return new AdminError("unavailable", "no majority yet");
      if (refusal) return new AdminError(refusal, "an account");
      added.push(...targets);
      return { alias, targets };
    },
  };
  const world = fakeWorld({ members: { "a:1": member } });
  const entry = await openEntry(world, { entry: "a:1" });
  const signal = new AbortController().signal;
  await ensurePostmaster(entry, "alice", { deadlineMs: 60_000, signal });
  expect(added).toEqual(expected);
});
