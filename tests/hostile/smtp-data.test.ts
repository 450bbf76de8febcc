/** Mails that no good client sends, to a ring of three; what is taken is served octet by octet. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, type SmtpReply } from "../support/smtp-client.js";
import { senderBefore } from "../support/trace.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
const from = "bob@else.test";
const boxes = ["fakes", "dots", "many-dots", "mime", "breaks", "proto", "size", "reset"];
let ring: Ring;
let pids: number[];

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2, args: ["--max-message", "16M"] });
  await ring.addUsers(boxes);
  pids = ring.members.map(({ pid }) => pid);
});

/** Up to the 354. */
async function toData(box: string, member: Member = ring.member(0)): Promise<SmtpClient> {
  const client = await SmtpClient.connect(member.smtp);
  await client.expect(250, `MAIL FROM:<${from}> BODY=8BITMIME`);
  await client.expect(250, `RCPT TO:<${box}@${domain}>`);
  await client.expect(354, "DATA");
  return client;
}

/** Sends octets as they are, the end of data among them, and ends the session in good order. */
async function sendRaw(box: string, octets: Buffer): Promise<string> {
  const client = await toData(box);
  const reply: SmtpReply = await client.command(octets);
  await client.quit();
  return reply.lines.join("\n");
}

async function send(box: string, mail: Buffer): Promise<void> {
  const client = await SmtpClient.connect(ring.member(0).smtp);
  const { reply } = await client.send({ from, to: [`${box}@${domain}`] }, mail);
  expect(reply.lines.join()).toMatch(/^250 2\.0\.0 /);
  await client.quit();
}

/** The mails of a box as a member serves them; each has to be one of `sent`, and all of them. */
async function servedExactly(box: string, member: Member, sent: readonly Buffer[]): Promise<void> {
  const got = await waitUntil(() => fetchAll(member.pop3, box, password), {
    deadlineMs: 60_000,
    what: `member ${member.id} to serve ${box}`,
  });
  const names = got.map(({ bytes }) =>
    sent.findIndex((mail) => senderBefore(mail, bytes) === from),
  );
  expect(names.sort((a, b) => a - b)).toEqual(sent.map((_, index) => index));
  expect(ring.members.map(({ pid, running }) => running && pid)).toEqual(pids);
}

describe("S3: what looks like an end of data and is none", () => {
  const smuggled = `MAIL FROM:<evil@else.test>\r\nRCPT TO:<fakes@${domain}>\r\nDATA\r\nevil\r\n`;
  test.each([
    ["\n.\n"],
    ["\n.\r\n"],
    ["\r\n.\n"],
    ["\r.\r"],
    ["\r.\r\n"],
    ["\r\n.\r"],
    ["\r\r\n.\r\r\n"],
    ["\n\n.\n\n"],
    ["\r\n.\r\r\n"],
  ])("%j: one mail, and that is refused", async (fake) => {
    const octets = `Subject: x\r\n\r\nfirst${fake}${smuggled}.\r\n`;
    expect(await sendRaw("fakes", Buffer.from(octets))).toMatch(/^550 5\.5\.2 /);
  });

  test.each([["\n"], ["\r"], ["\r\r\n"], ["\n\r"]])("a bare %j alone is refused", async (bare) => {
    const octets = `Subject: x\r\n\r\nfirst${bare}second\r\n.\r\n`;
    expect(await sendRaw("fakes", Buffer.from(octets))).toMatch(/^550 5\.5\.2 /);
  });

  test("nothing of all that was delivered", async () => {
    await servedExactly("fakes", ring.member(1), []);
  });
});

test("S4: dots, cut at every octet", async () => {
  const mail = Buffer.from("Subject: x\r\n\r\n.\r\n..\r\n...\r\n.a\r\na.\r\n\r\n.\r\n");
  const wire = Buffer.from("Subject: x\r\n\r\n..\r\n...\r\n....\r\n..a\r\na.\r\n\r\n..\r\n.\r\n");
  const cuts = Array.from(wire, (_, at) => at).slice(12);
  for (const cut of cuts) {
    const client = await toData("dots");
    client.wire.write(wire.subarray(0, cut));
    // A turn of the event loop: the kernel has the first part before it gets the second.
    await new Promise((resolve) => setImmediate(resolve));
    client.wire.write(wire.subarray(cut));
    expect((await client.reply()).code).toBe(250);
    await client.quit();
  }
  const octetByOctet = await toData("dots");
  for (const octet of wire) {
    octetByOctet.wire.write(Buffer.of(octet));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect((await octetByOctet.reply()).code).toBe(250);
  await octetByOctet.quit();
  const got = await fetchAll(ring.member(2).pop3, "dots", password);
  expect(got).toHaveLength(cuts.length + 1);
  for (const { bytes } of got) expect(senderBefore(mail, bytes)).toBe(from);
});

test("S5: ten megabytes of dots", async () => {
  const mail = Buffer.from(`Subject: x\r\n\r\n${".\r\n".repeat(2_500_000)}`);
  const wire = Buffer.from(`Subject: x\r\n\r\n${"..\r\n".repeat(2_500_000)}.\r\n`);
  expect(await sendRaw("many-dots", wire)).toMatch(/^250 2\.0\.0 /);
  await servedExactly("many-dots", ring.member(1), [mail]);
});

test("S7: MIME 10,000 levels deep, and of 100,000 parts", async () => {
  const open = (n: number) => `Content-Type: multipart/mixed; boundary="b${n}"\r\n\r\n--b${n}\r\n`;
  const levels = Array.from({ length: 10_000 }, (_, n) => open(n)).join("");
  const deep = Buffer.from(`MIME-Version: 1.0\r\n${levels}\r\nhere\r\n--b0--\r\n`);
  const part = "--b0\r\nContent-Type: text/plain\r\n\r\nx\r\n";
  const wide = Buffer.from(`MIME-Version: 1.0\r\n${open(0)}${part.repeat(100_000)}--b0--\r\n`);
  await send("mime", deep);
  await send("mime", wide);
  await servedExactly("mime", ring.member(2), [deep, wide]);
});

test("S10: headers with the names of an object's own", async () => {
  const mails = ["__proto__", "constructor", "toString", "hasOwnProperty"].map((name) =>
    Buffer.from(`${name}: polluted\r\n${name}: {"x": 1}\r\nSubject: x\r\n\r\ny\r\n`),
  );
  for (const mail of mails) await send("proto", mail);
  await servedExactly("proto", ring.member(1), mails);
});

describe("S23: sizes", () => {
  test("announced", async () => {
    const client = await SmtpClient.connect(ring.member(0).smtp);
    const { lines } = await client.command(`MAIL FROM:<${from}> SIZE=${16 * 1024 * 1024 + 1}`);
    expect(lines.join()).toMatch(/^552 5\.3\.4 /);
    await client.quit();
  });

  test("lied about: 552 behind the dot, and the session lives", async () => {
    const client = await SmtpClient.connect(ring.member(0).smtp);
    await client.expect(250, `MAIL FROM:<${from}> SIZE=10`);
    await client.expect(250, `RCPT TO:<size@${domain}>`);
    await client.expect(354, "DATA");
    client.wire.write("Subject: x\r\n\r\n");
    for (let i = 0; i < 17; i += 1) client.wire.write(`${"x".repeat(1_022)}\r\n`.repeat(1_024));
    expect((await client.command(".")).lines.join()).toMatch(/^552 5\.3\.4 /);
    await client.quit();
    const header = Buffer.from(`Subject: x\r\n${"X: y\r\n".repeat(200_000)}\r\n.\r\n`);
    expect(await sendRaw("size", header)).toMatch(/^552 5\.3\.4 /);
    await servedExactly("size", ring.member(1), []);
  });
});

test.each([
  ["small", 10],
  ["spooled", 20_000],
])("S32: reset in the middle of a mail (%s): nothing is delivered", async (_what, lines) => {
  const client = await toData("reset");
  client.wire.write(`Subject: x\r\n\r\n${`${"x".repeat(98)}\r\n`.repeat(lines)}`);
  client.reset();
  const mail = Buffer.from(`Subject: ${lines}\r\n\r\nwhole\r\n`);
  const before = await fetchAll(ring.member(1).pop3, "reset", password);
  await send("reset", mail);
  const after = await fetchAll(ring.member(1).pop3, "reset", password);
  expect(after).toHaveLength(before.length + 1);
  expect(senderBefore(mail, after.at(-1)?.bytes ?? Buffer.alloc(0))).toBe(from);
  expect(ring.members.map(({ pid, running }) => running && pid)).toEqual(pids);
});

test("S9: octets at which others end lines survive a restart, on all replicas", async () => {
  const breaks = ["\u0085", "\u2028", "\u2029", "\u00c5"].map((text) => Buffer.from(text));
  const odd = Buffer.concat([...breaks, Buffer.from([0x85, 0xc3, 0x85, 0x0b, 0x0c, 0x1c])]);
  const mail = Buffer.concat([
    ...[Buffer.from("Subject: a"), odd, Buffer.from("b\r\nX-"), Buffer.from("Y: "), odd],
    ...[Buffer.from("\r\n\r\n"), odd, Buffer.from("\r\n"), odd, Buffer.from("end\r\n")],
  ]);
  await send("breaks", mail);
  await ring.copiesEqual(["breaks"], { copies: 3 });
  for (const member of ring.members) await servedExactly("breaks", member, [mail]);
  for (const member of ring.members) await member.kill("SIGTERM");
  await ring.restartAll(ring.members);
  await ring.settled();
  pids = ring.members.map(({ pid }) => pid);
  for (const member of ring.members) await servedExactly("breaks", member, [mail]);
  await ring.copiesEqual(["breaks"], { copies: 3 });
});
