/** Members come, go, vanish and come back: nothing is lost and the copies are there again. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chordOk } from "../support/chord.js";
import { checkBook, MailLoad } from "../support/load.js";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();
const boxes = ["box-a", "box-b", "box-c", "box-d"];

/** Puts `mails` mails into each box; returns the UIDLs of each as a member serves them. */
async function fill(ring: Ring, mails: number): Promise<Map<string, string[]>> {
  await ring.addUsers(boxes);
  for (const [index, box] of boxes.entries()) {
    for (let n = 0; n < mails; n += 1) {
      const member = ring.member((index + n) % ring.members.length);
      const mail = Buffer.from(`Subject: ${box} ${n}\r\n\r\nmail ${n}\r\n`);
      await sendMail(member.smtp, { from: "", to: [`${box}@${domain}`] }, mail);
    }
  }
  return await uidsAt(ring.entry);
}

async function uidsAt(member: Member): Promise<Map<string, string[]>> {
  const uids = new Map<string, string[]>();
  for (const box of boxes) {
    const mails = await fetchAll(member.pop3, box, password);
    uids.set(
      box,
      mails.map((mail) => mail.uid),
    );
  }
  return uids;
}

async function gone(ring: Ring, id: string, deadlineMs: number): Promise<void> {
  await waitUntil(async () => (await ring.memberStatus(id)) === undefined, {
    deadlineMs,
    what: `member ${id} to be gone from the roster`,
    everyMs: 200,
  });
}

test("1 → 2 → 3 → 5 under load, then one leaves", async () => {
  const ring = await scope.start({ members: 1, replicas: 2 });
  await ring.addUsers(["kept-a", "kept-b", "emptied"]);
  const names = ["kept-a", "kept-b", "emptied"];
  const load = new MailLoad(ring, {
    kept: ["kept-a", "kept-b"],
    emptied: ["emptied"],
    senders: 2,
  });
  load.start();
  const some = { mails: 20, fetches: 2, deletions: 2 };
  await load.progress(some, "with one member");
  for (const size of [2, 3, 4, 5]) {
    await ring.grow();
    await load.progress(some, `with ${size} members`);
  }
  const leaver = ring.member(0);
  await chordOk(["leave", "--entry", leaver.addr], { deadlineMs: 90_000 });
  expect(await leaver.exited).toMatchObject({ code: 0 });
  await load.progress(some, "after one left");
  await load.stop();
  await gone(ring, leaver.id, 30_000);
  await ring.settled();
  await ring.copiesEqual(names, { copies: 3 });
  await checkBook(ring, load.book, names);
}, 180_000);

test("SIGTERM stops a member and does not take it out", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  const uids = await fill(ring, 3);
  const member = ring.member(1);
  expect(await member.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  await waitUntil(async () => (await ring.memberStatus(member.id))?.state === "unreachable", {
    deadlineMs: 60_000,
    what: "the stopped member to be shown as unreachable",
    everyMs: 200,
  });
  expect(await uidsAt(ring.entry)).toEqual(uids);
  await member.restart();
  await ring.settled();
  expect(await uidsAt(member)).toEqual(uids);
});

test("a silent member is evicted, its copies are made again, and it may come back", async () => {
  const ring = await scope.start({ members: 4, replicas: 2, args: ["--evict-after", "3"] });
  const uids = await fill(ring, 4);
  const victim = ring.member(2);
  await victim.kill("SIGKILL");
  await gone(ring, victim.id, 60_000);
  await ring.copiesEqual(boxes, { copies: 3 });
  expect(await uidsAt(ring.entry)).toEqual(uids);

  const mail = Buffer.from("Subject: meanwhile\r\n\r\nmeanwhile\r\n");
  await sendMail(ring.entry.smtp, { from: "", to: boxes.map((box) => `${box}@${domain}`) }, mail);
  const after = await uidsAt(ring.entry);
  await victim.restart();
  await ring.settled();
  await ring.copiesEqual(boxes, { copies: 3 });
  for (const member of ring.members) expect(await uidsAt(member)).toEqual(after);
}, 180_000);

test("views are only views: rm -r views loses nothing", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  const uids = await fill(ring, 4);
  await ring.stopAll();
  for (const member of ring.members) {
    const found = readdirSync(member.dataDir, { recursive: true, withFileTypes: true });
    const views = found.filter((entry) => entry.isDirectory() && entry.name === "views");
    expect(views.length, `views in ${member.dataDir}`).toBeGreaterThan(0);
    for (const view of views) rmSync(join(view.parentPath, view.name), { recursive: true });
  }
  await ring.restartAll(ring.members);
  await ring.settled();
  for (const member of ring.members) expect(await uidsAt(member)).toEqual(uids);
});
