/**
 * Disks that lie, break and fill up under a real node: asked from outside, by SMTP and POP3. The
 * power cut is D1 in tests/cluster/power-cut.test.ts, the second process K2 in refusals.test.ts.
 */
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FailingSync } from "../support/failing-sync.js";
import { findInJournal, flipBit, newestSegment } from "../support/journal-files.js";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { SmallDisk } from "../support/tmpfs.js";
import { waitUntil, within } from "../support/wait.js";

const scope = ringScope();

const bodyOf = (subject: string, octets = 100): string =>
  `${subject}-mark\r\n${"x".repeat(octets)}\r\n`;

/** Sends one mail; answers the line behind the dot, or where it was refused before. */
async function send(member: Member, subject: string, octets = 100): Promise<string> {
  const client = await SmtpClient.connect(member.smtp);
  try {
    const mail = Buffer.from(`Subject: ${subject}\r\n\r\n${bodyOf(subject, octets)}`);
    const { reply } = await client.send({ from: "", to: [`ann@${domain}`] }, mail);
    if (reply.code !== 421) await client.quit();
    return reply.lines.join();
  } finally {
    client.destroy();
  }
}

async function subjects(member: Member): Promise<string[]> {
  return (await fetchAll(member.pop3, "ann", password)).map(
    ({ bytes }) => /^Subject: (.*)\r$/m.exec(bytes.toString("latin1"))?.[1] ?? "",
  );
}

const alone = async () => {
  const ring = await scope.start({ members: 1, replicas: 0 });
  await ring.addUsers(["ann"]);
  return ring.member(0);
};

describe("D2: a torn last record", () => {
  const tears: [string, (path: string, before: number, after: number) => void][] = [
    ["half of it", (path, before, after) => truncateSync(path, (before + after) >> 1)],
    ["its first octet", (path, before) => truncateSync(path, before + 1)],
    ["all but its last octet", (path, _before, after) => truncateSync(path, after - 1)],
    [
      "zeros where it should be",
      (path, before, after) => {
        truncateSync(path, before);
        appendFileSync(path, Buffer.alloc(after - before));
      },
    ],
  ];
  test.each(tears)("%s: boots, the rest is intact, nothing is glued to it", async (_what, tear) => {
    const member = await alone();
    expect(await send(member, "first")).toMatch(/^250 /);
    const path = newestSegment(member);
    // Confirmations come a moment later: what is torn off must be the second mail's record.
    await member.kill("SIGTERM");
    const before = statSync(path).size;
    await member.restart();
    expect(await send(member, "second")).toMatch(/^250 /);
    await member.kill("SIGKILL");
    // The body is the end of its record.
    const content = readFileSync(path);
    const after = content.indexOf(bodyOf("second"), before) + bodyOf("second").length;
    tear(path, before, after);
    await member.restart();
    expect(await subjects(member)).toEqual(["first"]);
    expect(await send(member, "third")).toMatch(/^250 /);
    await member.kill("SIGKILL");
    await member.restart();
    expect(await subjects(member)).toEqual(["first", "third"]);
  });
});

test("D6: fsync fails: nothing more is acknowledged, the node ends and says so", async (context) => {
  const sync = FailingSync.build(context);
  const ring = await scope.start({ members: 1, replicas: 0, place: () => ({ env: sync.env }) });
  await ring.addUsers(["ann"]);
  const member = ring.member(0);
  expect(await send(member, "before")).toMatch(/^250 /);
  sync.fail();
  // The connection may end before there is an answer; a 250 there must not be.
  const answer = await send(member, "while it fails").catch((error: unknown) => String(error));
  expect(answer).not.toMatch(/^250 /);
  const exit = await within(member.exited, 30_000, "the member to end");
  expect(exit.code).toBe(70);
  expect(member.stderr).toMatch(/EIO|fsync|disk/i);
  sync.mend();
  await member.restart();
  // Nobody was promised the second; that it may be there is the nature of a failed fsync.
  expect((await subjects(member))[0]).toBe("before");
  expect(await send(member, "after")).toMatch(/^250 /);
});

test("D7: a bit flips on the disk of a stopped member: never served, and healed by itself", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["ann"]);
  for (const subject of ["one", "two", "three"]) {
    expect(await send(ring.entry, subject)).toMatch(/^250 /);
  }
  await ring.copiesEqual(["ann"], { copies: 3 });
  const intact = await fetchAll(ring.member(1).pop3, "ann", password);
  const hurt = ring.member(0);
  await hurt.kill("SIGKILL");
  const { path, at } = findInJournal(hurt, "two-mark");
  flipBit({ path, at });
  await hurt.restart();
  await ring.settled();
  expect(await fetchAll(hurt.pop3, "ann", password)).toEqual(intact);
  await ring.copiesEqual(["ann"], { copies: 3 });
  expect(hurt.tail(300)).toMatch(/damaged/);
});

test("D9: what was refused because of a full disk never shows up", async (context) => {
  const disk = SmallDisk.mount(context, "16m");
  const place = () => ({ dataDir: join(disk.folder, "data") });
  const ring = await scope.start({ members: 1, replicas: 0, place });
  await ring.addUsers(["ann"]);
  const member = ring.member(0);
  const kept: string[] = [];
  expect(await send(member, "before")).toMatch(/^250 /);
  kept.push("before");
  disk.fill();
  let refused = 0;
  for (let n = 0; refused < 5; n += 1) {
    expect(n).toBeLessThan(1_000);
    const answer = await send(member, `full-${n}`, 20_000);
    if (answer.startsWith("250 ")) kept.push(`full-${n}`);
    else {
      expect(answer).toMatch(/^452 4\.3\.1 /);
      refused += 1;
    }
  }
  disk.free();
  await waitUntil(async () => (await send(member, "space")).startsWith("250 ") || undefined, {
    deadlineMs: 60_000,
    what: "mail to be taken again",
  });
  kept.push("space");
  expect(await subjects(member)).toEqual(kept);
  await member.kill("SIGKILL");
  await member.restart();
  expect(await subjects(member)).toEqual(kept);
}, 180_000);

test("K5: data of a newer version is refused in one line, and left as it is", async () => {
  const member = await alone();
  expect(await send(member, "kept")).toMatch(/^250 /);
  await member.kill("SIGTERM");
  const path = join(member.dataDir, "version");
  const own = readFileSync(path, "utf8");
  const newer = own.replace(/"format":\d+/, '"format":999');
  expect(newer).not.toBe(own);
  writeFileSync(path, newer);
  member.start();
  const exit = await within(member.exited, 30_000, "the member to end");
  expect(exit.code).toBeGreaterThan(0);
  const lines = member.stderr.split("\n").filter((line) => line !== "");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/newer version.*999/);
  expect(readFileSync(path, "utf8")).toBe(newer);
  writeFileSync(path, own);
  await member.restart();
  expect(await subjects(member)).toEqual(["kept"]);
});
