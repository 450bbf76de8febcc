/** One login is good at every node, and so is its end. */
import { beforeAll, expect, test } from "vitest";
import { chord, chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
});

function session(member: Member, args: readonly string[], stdin = "") {
  return chord(["session", ...args, "--entry", member.addr], { stdin: `${stdin}\n` });
}

async function create(member: Member, name: string, secret = password): Promise<string> {
  const { token } = await admin(member.addr, "sessionCreate", { name, password: secret });
  return token;
}

/** `ok`, or the code of the refusal. */
async function use(member: Member, token: string): Promise<string> {
  try {
    const { mailbox } = await admin(member.addr, "sessionRefresh", { token });
    return `ok ${mailbox}`;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

async function everywhere(token: string): Promise<string[]> {
  return Promise.all(ring.members.map((member) => use(member, token)));
}

const good = (name: string): string[] => Array<string>(3).fill(`ok ${name}@${domain}`);
const refused = ["refused", "refused", "refused"];

async function login(member: Member, name: string, secret: string): Promise<string> {
  try {
    const client = await Pop3Client.login(member.pop3, name, secret);
    await client.quit();
    return "+OK";
  } catch (error) {
    if (error instanceof Pop3Refused) return error.line.split("]")[0] ?? "";
    throw error;
  }
}

test("a token that one node made is good at the others, for scripts too", async () => {
  await ring.addUsers(["ann"]);
  const args = ["create", "ann", "--password-stdin"];
  const made = await session(ring.member(0), args, password);
  expect(made.code, made.stderr).toBe(0);
  const token = made.stdout.toString().trim();
  expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  expect(await everywhere(token)).toEqual(good("ann"));
  const again = await session(ring.member(2), ["refresh"], token);
  expect(again.code, again.stderr).toBe(0);
  expect(await everywhere(again.stdout.toString().trim())).toEqual(good("ann"));
  const wrong = await session(ring.member(1), args, "wrong");
  expect([wrong.code, wrong.stdout.toString()]).toEqual([1, ""]);
  expect(wrong.stderr).toMatch(/^chord: wrong name or password\n$/);
});

test("a changed password ends it at every node at once", async () => {
  await ring.addUsers(["bob"]);
  const tokens = await Promise.all(ring.members.map((member) => create(member, "bob")));
  for (const token of tokens) expect(await everywhere(token)).toEqual(good("bob"));
  await admin(ring.member(1).addr, "userPasswd", { name: "bob", password: "another one" });
  for (const token of tokens) expect(await everywhere(token)).toEqual(refused);
  expect(await everywhere(await create(ring.member(2), "bob", "another one"))).toEqual(good("bob"));
});

test("revoked, it ends at every node at once; so with the account", async () => {
  await ring.addUsers(["cyd"]);
  const first = await create(ring.member(0), "cyd");
  expect((await session(ring.member(1), ["revoke", "cyd"])).code).toBe(0);
  expect(await everywhere(first)).toEqual(refused);
  const second = await create(ring.member(0), "cyd");
  await admin(ring.member(2).addr, "userRemove", { name: "cyd" });
  expect(await everywhere(second)).toEqual(refused);
  // Who gets the name next is somebody else.
  await ring.addUsers(["cyd"]);
  expect(await everywhere(second)).toEqual(refused);
});

test("it outlives a restart of everything, and a new key", async () => {
  await ring.addUsers(["dan"]);
  const before = await create(ring.member(0), "dan");
  await ring.stopAll();
  await ring.restartAll(ring.members);
  await ring.settled();
  expect(await everywhere(before)).toEqual(good("dan"));
  await chordOk(["session", "rotate-key", "--entry", ring.member(1).addr]);
  const after = await create(ring.member(2), "dan");
  expect(await everywhere(before)).toEqual(good("dan"));
  expect(await everywhere(after)).toEqual(good("dan"));
  await chordOk(["session", "rotate-key", "--drop-old", "--entry", ring.member(0).addr]);
  expect(await everywhere(before)).toEqual(refused);
  expect(await everywhere(after)).toEqual(refused);
  expect(await everywhere(await create(ring.member(1), "dan"))).toEqual(good("dan"));
});

test("an app password opens the maildrop at every node until it is revoked, then at none", async () => {
  await ring.addUsers(["eve"]);
  const user = (...args: string[]) =>
    chordOk(["user", "app-password", ...args, "--entry", ring.member(0).addr]);
  const secret = (await user("add", "eve", "my phone")).trim();
  const list = await user("list", "eve");
  expect(list).toMatch(/^[0-9a-f]{8} {2}\d{4}-\d\d-\d\d {2}my phone\n$/);
  for (const member of ring.members) expect(await login(member, "eve", secret)).toBe("+OK");
  await user("revoke", "eve", list.slice(0, 8));
  for (const member of ring.members) expect(await login(member, "eve", secret)).toBe("-ERR [AUTH");
  for (const member of ring.members) expect(await login(member, "eve", password)).toBe("+OK");
  expect(await user("list", "eve")).toBe("");
});

test("the outbox is a maildrop of its own", async () => {
  await ring.addUsers(["fay"]);
  for (const member of ring.members) {
    expect(await login(member, `fay@${domain}/outbox`, password)).toBe("+OK");
  }
  expect(await login(ring.member(0), "fay/other", password)).toBe("-ERR [AUTH");
});
