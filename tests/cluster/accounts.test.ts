/** Accounts are agreed on: one winner, seen everywhere at once, never a wrong "no such user". */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { chord, chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, type SmtpReply } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
});

// Tests that stop members leave them stopped when they fail.
beforeEach(async () => {
  const stopped = ring.members.filter((member) => !member.running);
  if (stopped.length > 0) await ring.restartAll(stopped);
  await ring.settled();
});

function user(verb: string, name: string, secret: string, member: Member) {
  const args = ["user", verb, name, "--entry", member.addr];
  if (verb !== "remove") args.push("--password-stdin");
  return chord(args, { stdin: `${secret}\n` });
}

/** `+OK` or the whole refusal. */
async function login(member: Member, name: string, secret: string): Promise<string> {
  try {
    const client = await Pop3Client.login(member.pop3, name, secret);
    await client.quit();
    return "+OK";
  } catch (error) {
    if (error instanceof Pop3Refused) return error.line;
    throw error;
  }
}

async function rcpt(member: Member, name: string): Promise<SmtpReply> {
  const client = await SmtpClient.connect(member.smtp);
  try {
    await client.expect(250, "MAIL FROM:<>");
    return await client.command(`RCPT TO:<${name}@${domain}>`);
  } finally {
    client.destroy();
  }
}

test.each([1, 2, 3])(
  "two at once through two nodes: exactly one wins (round %i)",
  async (round) => {
    const name = `twin-${round}`;
    const [first, second] = [ring.member(round % 3), ring.member((round + 1) % 3)];
    const answers = await Promise.all([
      user("add", name, "secret one", first),
      user("add", name, "secret two", second),
    ]);
    const winners = answers.map((answer) => answer.code === 0);
    expect(winners.filter(Boolean), JSON.stringify(answers)).toHaveLength(1);
    const right = winners[0] === true ? "secret one" : "secret two";
    const wrong = winners[0] === true ? "secret two" : "secret one";
    for (const member of ring.members) {
      expect(await login(member, name, right)).toBe("+OK");
      expect(await login(member, name, wrong)).toMatch(/^-ERR \[AUTH\]/);
      expect((await rcpt(member, name)).code).toBe(250);
    }
  },
);

test("the one who comes second is told so", async () => {
  expect((await user("add", "first", password, ring.member(0))).code).toBe(0);
  const again = await user("add", "First", "another", ring.member(2));
  expect(again.code).not.toBe(0);
  expect(again.stderr).toMatch(/exists/i);
  expect(await login(ring.member(1), "first", password)).toBe("+OK");
});

test("a name is one mailbox, with or without the domain, in any case", async () => {
  await user("add", "Mixed.Case", password, ring.member(0));
  for (const name of ["mixed.case", "MIXED.CASE", `Mixed.Case@${domain}`]) {
    expect(await login(ring.member(1), name, password)).toBe("+OK");
  }
  expect((await rcpt(ring.member(2), "mixed.CASE")).code).toBe(250);
});

test("a changed password is seen at every node at once", async () => {
  await user("add", "changing", "old secret", ring.member(0));
  // Every node has verified the old one and may remember it.
  for (const member of ring.members) {
    expect(await login(member, "changing", "old secret")).toBe("+OK");
  }
  for (const [index, member] of ring.members.entries()) {
    const before = index === 0 ? "old secret" : `secret ${index - 1}`;
    expect((await user("passwd", "changing", `secret ${index}`, member)).code).toBe(0);
    for (const other of ring.members) {
      expect(await login(other, "changing", before)).toMatch(/^-ERR \[AUTH\]/);
      expect(await login(other, "changing", `secret ${index}`)).toBe("+OK");
    }
  }
});

test("a removed account is unknown at every node at once", async () => {
  await user("add", "leaver", password, ring.member(0));
  for (const member of ring.members) expect((await rcpt(member, "leaver")).code).toBe(250);
  expect((await user("remove", "leaver", "", ring.member(1))).code).toBe(0);
  for (const member of ring.members) {
    const reply = await rcpt(member, "leaver");
    expect(reply.lines.join()).toMatch(/^550 5\.1\.1 /);
    expect(await login(member, "leaver", password)).toMatch(/^-ERR \[AUTH\]/);
  }
});

test("wrong password and unknown user get the same answer", async () => {
  await user("add", "known", password, ring.member(0));
  const wrong = await login(ring.member(1), "known", "wrong");
  expect(wrong).toMatch(/^-ERR \[AUTH\]/);
  expect(await login(ring.member(1), "nobody", "wrong")).toBe(wrong);
});

test("user list names them all, through any node", async () => {
  await user("add", "listed", password, ring.member(0));
  for (const member of ring.members) {
    const list = await chordOk(["user", "list", "--entry", member.addr]);
    expect(list).toContain(`listed@${domain}`);
  }
});

test("with a majority down nobody is told that a user does not exist", async () => {
  await user("add", "patient", password, ring.member(0));
  const [left, ...down] = ring.members;
  if (left === undefined) throw new Error("no member");
  expect(await login(left, "patient", password)).toBe("+OK");
  await Promise.all(down.map((member) => member.kill("SIGKILL")));

  expect((await rcpt(left, "patient")).lines.join()).toMatch(/^451 4\.3\.0 /);
  expect((await rcpt(left, "nobody-at-all")).lines.join()).toMatch(/^451 4\.3\.0 /);
  expect(await login(left, "patient", password)).toMatch(/^-ERR \[SYS\/TEMP\]/);
  expect(await login(left, "nobody-at-all", password)).toMatch(/^-ERR \[SYS\/TEMP\]/);
  const added = await user("add", "too-soon", password, left);
  expect(added.code).not.toBe(0);
  expect(added.stderr).not.toBe("");

  await ring.restartAll(down);
  await ring.settled();
  await waitUntil(async () => (await login(left, "patient", password)) === "+OK", {
    deadlineMs: 60_000,
    what: "the majority to answer again",
  });
  expect((await rcpt(left, "nobody-at-all")).lines.join()).toMatch(/^550 5\.1\.1 /);
  // A refused change may not come into force later under another password.
  const later = await user("add", "too-soon", "other secret", left);
  const works = later.code === 0 ? "other secret" : password;
  expect(await login(left, "too-soon", works)).toBe("+OK");
});
