/** What an operator does to a ring in which something went wrong, with real processes and disks. */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { MemberStatus } from "../../src/shared/admin.js";
import { chord, chordOk } from "../support/chord.js";
import { findInJournal, flipBit } from "../support/journal-files.js";
import type { Member } from "../support/member.js";
import { fetchAll, loginWhenFree } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();

/** A mail whose body is found again on disk by its mark. */
function mailOf(subject: string, octets = 200): Buffer {
  const text = randomBytes(Math.ceil((octets * 3) / 4)).toString("base64");
  const lines = text.replaceAll(/(.{76})/g, "$1\r\n");
  return Buffer.from(`Subject: ${subject}\r\n\r\n${subject}-mark\r\n${lines}\r\n`);
}

/** Sends one mail; answers its id. */
async function send(member: Member, box: string, mail: Buffer): Promise<string> {
  const reply = await sendMail(member.smtp, { from: "", to: [`${box}@${domain}`] }, mail);
  const id = /^250 2\.0\.0 ([0-9a-f]{32}) /.exec(reply)?.[1];
  if (id === undefined) throw new Error(reply);
  return id;
}

async function copies(ring: Ring): Promise<string> {
  return (await chordOk(["status", "--entry", ring.entry.addr]))
    .split("\n")
    .filter((line) => line.startsWith("copies"))
    .join("\n");
}

async function allCopies(ring: Ring, deadlineMs = 60_000): Promise<void> {
  await waitUntil(async () => (await copies(ring)) === "copies 3/3 for 100 % of keys", {
    ...{ deadlineMs, everyMs: 200 },
    what: `all copies, not ${await copies(ring)}`,
  });
}

async function gone(ring: Ring, id: string): Promise<void> {
  await waitUntil(async () => (await ring.memberStatus(id)) === undefined, {
    ...{ deadlineMs: 60_000, everyMs: 200 },
    what: `member ${id} to be gone from the roster`,
  });
}

test("leave is refused when copies would get fewer, unless forced", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["ann"]);
  await send(ring.member(0), "ann", mailOf("kept"));
  const leaver = ring.member(1);
  const refused = await chord(["leave", "--entry", leaver.addr]);
  expect(refused.code).toBe(1);
  expect(refused.stderr.toString()).toBe(
    `chord: member ${leaver.id} can't leave: with 2 members left that answer, everything would ` +
      "have 2 copies instead of 3; start another member first, or insist with --force\n",
  );
  expect((await ring.memberStatus(leaver.id))?.state).toBe("active");
  await chordOk(["leave", "--force", "--entry", leaver.addr], { deadlineMs: 60_000 });
  expect(await leaver.exited).toMatchObject({ code: 0 });
  await gone(ring, leaver.id);
  expect(await copies(ring)).toBe("copies 2/3 for 100 % of keys");
  expect(await fetchAll(ring.entry.pop3, "ann", password)).toHaveLength(1);
}, 120_000);

test("status tells how many copies there are, from the death of a member until all are back", async () => {
  const ring = await scope.start({ members: 4, replicas: 2 });
  const boxes = ["ann", "bob", "cyd", "dan", "eve", "fay"];
  await ring.addUsers(boxes);
  for (const box of boxes) await send(ring.member(0), box, mailOf(box));
  await allCopies(ring);
  const victim = ring.member(3);
  await victim.kill("SIGKILL");
  await waitUntil(async () => (await copies(ring)).includes("copies 2/3 for "), {
    ...{ deadlineMs: 60_000, everyMs: 100 },
    what: "fewer copies to be told",
  });
  const said = await chordOk(["evict", victim.id, "--entry", ring.entry.addr]);
  expect(said).toMatch(/is evicted \(roster epoch \d+\); its copies are made anew/);
  await allCopies(ring);
  expect((await ring.status()).copies).toMatchObject({
    ...{ wanted: 3, keys: 6, byCopies: [0, 0, 0, 6], withoutQuorum: 0, complete: true },
  });
}, 120_000);

test("D7: repair heals a damaged body, a missing one and a deleted view, and says so", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["ann"]);
  await send(ring.member(0), "ann", mailOf("small"));
  await send(ring.member(0), "ann", mailOf("other"));
  await send(ring.member(0), "ann", mailOf("large", 400_000));
  await ring.copiesEqual(["ann"], { copies: 3 });
  const hurt = ring.member(2);
  await hurt.kill("SIGKILL");
  flipBit(findInJournal(hurt, "small-mark"));
  rmSync(join(hurt.dataDir, "bodies"), { recursive: true });
  rmSync(join(hurt.dataDir, "views"), { recursive: true });
  await hurt.restart();
  await ring.settled();

  const said = await chordOk(["repair", `ann@${domain}`, "--entry", ring.entry.addr]);
  const ofHurt = said.split("\n").find((line) => line.includes(hurt.addr));
  expect(ofHurt).toMatch(/: (1 mail copied to it, )?[12] bod(y|ies) healed, [12] bod/);
  expect(said).toMatch(/^All copies are repaired\.$/m);
  const again = await chordOk(["repair", "--entry", hurt.addr]);
  expect(again).toContain(`${hurt.id} (${hurt.addr}): nothing lacked, 3 bodies sound`);
  // From its own disk: nobody else is there to ask.
  const served = await fetchAll(ring.member(0).pop3, "ann", password);
  for (const other of ring.others(hurt)) await other.kill("SIGKILL");
  for (const mark of ["small-mark", "other-mark"]) findInJournal(hurt, mark);
  await ring.restartAll(ring.members.filter((member) => !member.running));
  expect(await fetchAll(hurt.pop3, "ann", password)).toEqual(served);
}, 120_000);

test("repair says what can't be healed", async () => {
  const ring = await scope.start({ members: 1, replicas: 0 });
  await ring.addUsers(["ann"]);
  const id = await send(ring.entry, "ann", mailOf("only"));
  flipBit(findInJournal(ring.entry, "only-mark"));
  const result = await chord(["repair", "ann", "--entry", ring.entry.addr]);
  expect(result.code).toBe(1);
  expect(result.stdout.toString()).toContain(`! ${id}: no member has its body in sound condition`);
  expect(result.stderr.toString()).toMatch(/^chord: 1 body could not be healed: /);
});

test("a deleted message comes back as a new one with the same octets", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["ann"]);
  const id = await send(ring.member(0), "ann", mailOf("precious"));
  await send(ring.member(0), "ann", mailOf("other"));
  const before = await fetchAll(ring.entry.pop3, "ann", password);
  const session = await loginWhenFree(ring.member(1).pop3, "ann", password);
  await session.expect("DELE 1");
  await session.quit();
  await ring.copiesEqual(["ann"], { copies: 3 });

  const from = ring.member(2);
  const restore = ["restore", id, "--from", from.id, "--entry", ring.member(0).addr];
  const said = await chordOk(restore);
  const restored = /^ann@ring\.test has the message again, as ([0-9a-f]{32}) \(stored=[23]\/3\)$/m;
  const newId = restored.exec(said)?.[1];
  expect(newId).not.toBe(id);
  for (const member of ring.members) {
    const after = await fetchAll(member.pop3, "ann", password);
    expect(after.map(({ uid }) => uid)).toEqual([before[1]?.uid, newId]);
    expect(after[1]?.bytes).toEqual(before[0]?.bytes);
  }
  const twice = await chord(restore);
  expect([twice.code, twice.stderr.toString()]).toEqual([
    1,
    `chord: the message ${id} is there already as ${newId ?? ""}; nothing was done\n`,
  ]);
  const none = await chord(["restore", "0".repeat(32), "--from", from.id, "--entry", from.addr]);
  expect(none.stderr.toString()).toMatch(/has no record of the message 0{32}/);
  // An address: the others get what that member has, and the deleted one stays deleted.
  const whole = await chordOk(["restore", "ann", "--from", from.id, "--entry", from.addr]);
  expect(whole).toMatch(/^All copies are whole\.$/m);
  expect(await fetchAll(from.pop3, "ann", password)).toHaveLength(2);
}, 120_000);

test("two dead of one group of three: given up by force, the ring is whole and takes mail", async () => {
  const ring = await scope.start({ members: 5, replicas: 2, args: ["--evict-after", "3"] });
  const boxes = Array.from({ length: 10 }, (_, index) => `box-${index}`);
  await ring.addUsers(boxes);
  for (const box of boxes) await send(ring.member(0), box, mailOf(box));
  await allCopies(ring);
  const ids = [...ring.members].sort((a, b) => Number(a.id) - Number(b.id));
  const [first, second] = ids.slice(1, 3);
  if (!first || !second) throw new Error("too few members");
  await Promise.all([first.kill("SIGKILL"), second.kill("SIGKILL")]);
  for (const { id } of [first, second]) {
    await waitUntil(async () => (await ring.memberStatus(id))?.state === "unreachable", {
      ...{ deadlineMs: 60_000, everyMs: 200 },
      what: `member ${id} to be silent`,
    });
  }
  // Without force it says whom it waits for, and what may be done.
  const waiting = await chord(["evict", first.id, "--entry", ring.entry.addr], {
    deadlineMs: 60_000,
  });
  expect(waiting.stderr.toString()).toMatch(/waits for what only silent members have: .*--force/);
  const said = await chordOk(
    ["evict", first.id, second.id, "--force", "--entry", ring.entry.addr],
    { deadlineMs: 60_000 },
  );
  expect(said).toMatch(/! \d+ of 10 keys had no majority of living copies/);
  await allCopies(ring);
  expect((await ring.status()).members).toHaveLength(3);
  // Each had three copies: one of them lives, so nothing is lost here.
  for (const box of boxes) {
    await send(ring.entry, box, mailOf("after"));
    expect(await fetchAll(ring.entry.pop3, box, password)).toHaveLength(2);
  }
  // One that was given up comes back, with what is on its disk.
  await first.restart();
  await ring.settled();
  for (const box of boxes) expect(await fetchAll(first.pop3, box, password)).toHaveLength(2);
}, 180_000);

test("the last of three goes on by force, also without a majority", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["ann"]);
  await send(ring.member(0), "ann", mailOf("one"));
  await ring.copiesEqual(["ann"], { copies: 3 });
  const [last, ...dead] = ring.members;
  if (!last || !dead[0] || !dead[1]) throw new Error("too few members");
  for (const member of dead) await member.kill("SIGKILL");
  const force = ["--force", "--entry", last.addr];
  await waitUntil(
    async () => {
      const one = await chord(["evict", dead[0]?.id ?? "", ...force]);
      return one.stderr.toString().includes(`chord evict ${dead[0]?.id} ${dead[1]?.id} --force`);
    },
    { deadlineMs: 60_000, everyMs: 300, what: "the advice to name both" },
  );
  await chordOk(["evict", dead[0].id, dead[1].id, ...force], { deadlineMs: 60_000 });
  await send(last, "ann", mailOf("two"));
  expect(await fetchAll(last.pop3, "ann", password)).toHaveLength(2);
  await chordOk(["user", "add", "bob", "--password-stdin", "--entry", last.addr], {
    stdin: "a new one\n",
  });
}, 120_000);

interface Copied {
  readonly messages: number;
  readonly messagesTotal: number;
}

/** Lines of a member's log with this message, oldest first. */
function logged(member: Member, message: string): Copied[] {
  const lines = member
    .tail(2_000)
    .split("\n")
    .filter((line) => line.includes(`"${message}"`));
  return lines.map((line) => JSON.parse(line) as Copied);
}

test("a gainer killed in mid-copy goes on where it was", async () => {
  const ring = await scope.start({ members: 1, replicas: 2 });
  const boxes = Array.from({ length: 6 }, (_, index) => `box-${index}`);
  await ring.addUsers(boxes);
  for (const box of boxes) {
    for (let n = 0; n < 5; n += 1) await send(ring.entry, box, mailOf(`${box}-${n}`, 16_000));
  }
  const joiner = await ring.make({ args: ["--copy-rate", "64K", "--copy-streams", "1"] });
  ring.members.push(joiner);
  joiner.start();
  const copying = (): Promise<MemberStatus["copying"]> =>
    ring.memberStatus(joiner.id, ring.member(0)).then((status) => status?.copying);
  const atKill = await waitUntil(
    async () => {
      const now = await copying();
      return now && now.messages >= 5 && now.messages < 25 ? now : undefined;
    },
    { deadlineMs: 60_000, everyMs: 20, what: "the joiner to be in mid-copy" },
  );
  await joiner.kill("SIGKILL");
  joiner.start(["--copy-rate", "32M"]);
  await joiner.ready();
  await ring.settled();
  const [done] = logged(joiner, "ranges copied");
  // What came between the last look and the kill is on disk, too.
  expect(done?.messages).toBeLessThanOrEqual(30 - atKill.messages);
  expect(done?.messages).toBeGreaterThan(0);
  await ring.copiesEqual(boxes, { copies: 2 });
}, 120_000);
