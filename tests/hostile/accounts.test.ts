/** Names and mailboxes under strange input, asked of a running ring from outside. */
import { beforeAll, describe, expect, test } from "vitest";
import { chord } from "../support/chord.js";
import { fetchAll, Pop3Client } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";

const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
});

/** Sends a mail to an address in UTF-8; the reply to RCPT when that is refused, else to the dot. */
async function send(node: number, to: string, subject: string): Promise<string> {
  const client = await SmtpClient.connect(ring.member(node % 3).smtp);
  try {
    await client.expect(250, "MAIL FROM:<> SMTPUTF8");
    const rcpt = await client.command(Buffer.from(`RCPT TO:<${to}>\r\n`));
    if (rcpt.code !== 250) return rcpt.lines.join();
    await client.expect(354, "DATA");
    const reply = await client.command(`Subject: ${subject}\r\n\r\nbody\r\n.`);
    await client.quit();
    return reply.lines.join();
  } finally {
    client.destroy();
  }
}

async function subjects(name: string): Promise<string[]> {
  const mails = await fetchAll(ring.member(1).pop3, name, password);
  return mails.map(({ bytes }) => /^Subject: (.*?)\r$/m.exec(bytes.toString())?.[1] ?? "").sort();
}

const add = (name: string) =>
  chord(["user", "add", name, "--entry", ring.entry.addr, "--password-stdin"], {
    stdin: `${password}\n`,
  });

describe("S20: NFC and NFD, upper and lower case are one mailbox", () => {
  const nfc = "jos\u00e9.\u00c5se";
  const spellings = [
    nfc,
    nfc.normalize("NFD"),
    nfc.toUpperCase(),
    nfc.toUpperCase().normalize("NFD"),
  ];

  test("for SMTP, and for the command line, at every node", async () => {
    expect((await add(nfc.normalize("NFD"))).code).toBe(0);
    for (const spelling of spellings)
      expect((await add(spelling)).stderr).toMatch(/exists already/);
    const sent: string[] = [];
    for (const [index, spelling] of spellings.entries()) {
      expect(await send(index, `${spelling}@RING.test`, `mail ${index}`)).toMatch(/^250 /);
      sent.push(`mail ${index}`);
    }
    const { users } = await admin(ring.entry.addr, "userList", {});
    expect(users.filter((user) => user.startsWith("jos"))).toEqual([
      `${nfc.toLowerCase()}@${domain}`,
    ]);
    const shown = await admin(ring.entry.addr, "userShow", { name: nfc });
    expect(shown.usage?.messages).toBe(sent.length);
  });

  test.each([
    ["a Cyrillic letter among Latin ones", "j\u043ese"],
    ["a Cyrillic name that looks Latin", "\u0430\u0455\u0435"],
    ["an invisible letter", "jo\u200dse"],
    ["a direction override", "jo\u202ese"],
  ])("and %s is no further account beside them", async (_, name) => {
    const { code, stderr } = await add(name);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^chord: [^\n]+\n$/);
    expect(await send(0, `${name}@${domain}`, "x")).toMatch(/^550 5\.1\.1 /);
  });
});

describe("S22: user+tag is the user's mailbox", () => {
  test("for mail, whatever the tag; not as a name of its own", async () => {
    expect((await add("tagged")).code).toBe(0);
    const addresses = [
      "tagged+a",
      "TAGGED+B",
      "tagged+",
      "tagged+a+b",
      "tagged+/etc/passwd",
      "tagged",
    ];
    for (const [index, local] of addresses.entries()) {
      expect(await send(index, `${local}@${domain}`, `mail ${index}`)).toMatch(/^250 /);
    }
    expect(await subjects("tagged")).toEqual(addresses.map((__, index) => `mail ${index}`));
    expect((await add("tagged+a")).code).toBe(2);
    expect(await send(0, `tagged+../../x@${domain}`, "x")).toMatch(/^501 5\.1\.3 /);
    expect(await send(0, `+tagged@${domain}`, "x")).toMatch(/^550 5\.1\.1 /);
  });
});

describe("S24: a mailbox over its quota", () => {
  test("is refused with 452 4.2.2 at every node, loses nothing, and takes mail again", async () => {
    expect((await add("small")).code).toBe(0);
    await admin(ring.entry.addr, "userQuota", { name: "small", messages: 2 });
    for (let n = 0; n < 2; n += 1) {
      expect(await send(n, `small@${domain}`, `mail ${n}`)).toMatch(/^250 /);
    }
    for (let n = 0; n < 6; n += 1) {
      expect(await send(n, `small+x@${domain}`, "too much")).toMatch(/^452 4\.2\.2 /);
    }
    expect(await subjects("small")).toEqual(["mail 0", "mail 1"]);
    const reader = await Pop3Client.login(ring.member(0).pop3, "small", password);
    await reader.expect("DELE 1");
    await reader.quit();
    expect(await send(1, `small@${domain}`, "mail 2")).toMatch(/^250 /);
    expect(await subjects("small")).toEqual(["mail 1", "mail 2"]);
  });
});
