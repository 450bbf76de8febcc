/** Quotas: what a mailbox holds is known to the ring, whatever node a mail comes through. */
import { beforeAll, expect, test } from "vitest";
import { chordOk } from "../support/chord.js";
import { Pop3Client } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";

const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["octets", "count", "free", "burst"]);
});

/** Of `octets` octets as they come. */
function mailOf(octets: number): Buffer {
  const head = "Subject: x\r\n\r\n";
  return Buffer.from(`${head}${"y".repeat(octets - head.length - 2)}\r\n`);
}

interface Sent {
  readonly at: "rcpt" | "dot";
  readonly reply: string;
}

async function send(
  node: number,
  names: readonly string[],
  octets: number,
  options: { readonly declared?: boolean } = {},
): Promise<Sent> {
  const client = await SmtpClient.connect(ring.member(node % 3).smtp);
  try {
    await client.expect(250, `MAIL FROM:<>${options.declared === true ? ` SIZE=${octets}` : ""}`);
    let taken = 0;
    let refused = "";
    for (const name of names) {
      const reply = await client.command(`RCPT TO:<${name}@${domain}>`);
      if (reply.code === 250) taken += 1;
      else refused = reply.lines.join();
    }
    if (taken === 0) return { at: "rcpt", reply: refused };
    await client.expect(354, "DATA");
    const reply = await client.command(Buffer.concat([mailOf(octets), Buffer.from(".\r\n")]));
    await client.quit();
    return { at: "dot", reply: reply.lines.join() };
  } finally {
    client.destroy();
  }
}

const usage = async (name: string): Promise<{ octets: number; messages: number } | undefined> =>
  (await admin(ring.entry.addr, "userShow", { name })).usage;

test("octets: up to the bound and not beyond, through all nodes, and again after a deletion", async () => {
  const args = ["user", "quota", "octets", "--size", "10000", "--entry", ring.member(1).addr];
  expect(await chordOk(args)).toContain("has the quota");
  for (let n = 0; n < 3; n += 1) expect((await send(n, ["octets"], 3_000)).reply).toMatch(/^250 /);
  const held = await usage("octets");
  expect(held?.messages).toBe(3);
  // Trace headers count: they are read, too.
  expect(held?.octets).toBeGreaterThan(9_000);
  expect(held?.octets).toBeLessThan(10_000);

  // It would overflow: known at RCPT when MAIL says the size, after the dot otherwise.
  for (let n = 0; n < 3; n += 1) {
    const declared = await send(n, ["octets"], 3_000, { declared: true });
    expect(declared).toMatchObject({ at: "rcpt", reply: expect.stringMatching(/^452 4\.2\.2 /) });
    const undeclared = await send(n, ["octets"], 3_000);
    expect(undeclared).toMatchObject({ at: "dot", reply: expect.stringMatching(/^452 4\.2\.2 /) });
  }
  expect(await usage("octets")).toEqual(held);

  const reader = await Pop3Client.login(ring.member(2).pop3, "octets", password);
  await reader.expect("DELE 1");
  await reader.quit();
  expect((await send(0, ["octets"], 3_000)).reply).toMatch(/^250 /);
});

test("mails: a full mailbox is refused alone among several recipients", async () => {
  await admin(ring.member(0).addr, "userQuota", { name: "count", messages: 2 });
  for (let n = 0; n < 2; n += 1) expect((await send(n, ["count"], 500)).reply).toMatch(/^250 /);
  for (let n = 0; n < 3; n += 1) {
    const alone = await send(n, ["count"], 500);
    expect(alone).toMatchObject({ at: "rcpt", reply: expect.stringMatching(/^452 4\.2\.2 /) });
    expect((await send(n, ["count", "free"], 500)).reply).toMatch(/^250 /);
  }
  expect((await usage("count"))?.messages).toBe(2);
  expect((await usage("free"))?.messages).toBe(3);
  // In force at once at every node, whoever was told.
  await admin(ring.member(1).addr, "userQuota", { name: "count", messages: 3 });
  expect((await send(2, ["count"], 500)).reply).toMatch(/^250 /);
});

test("a burst through all nodes at once stays within what is promised", async () => {
  const quota = 20;
  await admin(ring.member(0).addr, "userQuota", { name: "burst", messages: quota });
  const sent = await Promise.all(Array.from({ length: 120 }, (_, n) => send(n, ["burst"], 400)));
  const stored = sent.filter(({ reply }) => reply.startsWith("250 ")).length;
  for (const { reply } of sent) expect(reply).toMatch(/^250 |^452 4\.2\.2 /);
  expect(stored).toBeGreaterThanOrEqual(quota);
  expect(stored).toBeLessThanOrEqual(quota * ring.members.length);
  expect((await usage("burst"))?.messages).toBe(stored);
  expect((await send(0, ["burst"], 400)).reply).toMatch(/^452 4\.2\.2 /);
});
