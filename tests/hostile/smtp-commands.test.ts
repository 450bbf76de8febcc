/** Commands that no good client sends, to a ring of three. */
import { readdirSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
const from = "<bob@else.test>";
let ring: Ring;
let pids: number[];

beforeAll(async () => {
  ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["alice", "bob"]);
  pids = ring.members.map(({ pid }) => pid);
});

/** A client of the first member, and at the end the proof that the session and the ring live. */
async function session(use: (client: SmtpClient) => Promise<void>): Promise<void> {
  const client = await SmtpClient.connect(ring.member(0).smtp);
  try {
    await use(client);
    await client.expect(250, "RSET");
    await client.quit();
  } finally {
    client.destroy();
  }
  expect(ring.members.map(({ pid, running }) => running && pid)).toEqual(pids);
}

async function answer(client: SmtpClient, command: string | Buffer): Promise<string> {
  return (await client.command(command)).lines.join("\n");
}

async function rssOctets(): Promise<number> {
  const status = await ring.memberStatus(ring.member(0).id);
  if (status?.rssBytes === undefined) throw new Error("no answer");
  return status.rssBytes;
}

test("S1: a command of 20 kB is one error", async () => {
  await session(async (client) => {
    expect(await answer(client, `NOOP ${"x".repeat(20_000)}`)).toMatch(/^500 5\.5\.2 /);
  });
});

test("S1: a command of 200 MB is one error, and memory stays flat", async () => {
  await session(async (client) => {
    // What the first large write takes, the next does not take once more.
    client.wire.write(`NOOP ${"x".repeat(10_000_000)}`);
    await rssOctets();
    const before = await rssOctets();
    for (let i = 0; i < 19; i += 1) {
      client.wire.write("x".repeat(10_000_000));
      await rssOctets();
    }
    expect(await answer(client, "")).toMatch(/^500 5\.5\.2 /);
    expect((await rssOctets()) - before).toBeLessThan(100_000_000);
  });
});

describe("what is answered", () => {
  test.each([
    ["S2", "NO\0OP", /^500 5\.5\.2 /],
    ["S2", "\0", /^500 5\.5\.2 /],
    ["S2", "MAIL FROM:<b\0b@else.test>", /^501 5\.1\.7 /],
    ["S2", "EHLO client\0.test", /^501 5\.5\.4 /],
    ["S15", `MAIL FROM:${from} FOO=BAR`, /^555 5\.5\.4 /],
    ["S15", `MAIL FROM:${from} AUTH=<>`, /^555 5\.5\.4 /],
    ["S15", `MAIL FROM:${from} __proto__`, /^501 5\.5\.4 /],
    ["S16", "MAIL FROM:<b\xc3\xb6b@else.test>", /^553 5\.6\.7 /],
    ["S18", `MAIL FROM:<${"b".repeat(65)}@else.test>`, /^501 5\.1\.7 /],
    ["S23", `MAIL FROM:${from} SIZE=99999999999`, /^552 5\.3\.4 /],
    ["S28", "XCLIENT ADDR=192.0.2.1 LOGIN=alice", /^550 5\.7\.1 /],
    ["S28", "XFORWARD ADDR=192.0.2.1", /^550 5\.7\.1 /],
    ["S28", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25", /^550 5\.7\.1 /],
    ["S38", "AUTH PLAIN AGFsaWNlAHg=", /^502 5\.5\.1 /],
  ])("%s: %j", async (_id, command, reply) => {
    await session(async (client) => {
      expect(await answer(client, command)).toMatch(reply);
    });
  });

  test.each([
    ["S13", `nobody@${domain}`, /^550 5\.1\.1 /],
    ["S16", `\xc3\xa5lice@${domain}`, /^553 5\.6\.7 /],
    ["S18", `${"a".repeat(65)}@${domain}`, /^501 5\.1\.3 /],
    ["S19", `../../escaped@${domain}`, /^501 5\.1\.3 /],
    ["S19", `"../../escaped"@${domain}`, /^501 5\.1\.3 /],
    ["S19", `..%2f..%2fescaped@${domain}`, /^5[50][01] 5\.1\.[13] /],
    ["S19", `alice@../../escaped`, /^501 5\.1\.3 /],
    ["S19", `C:\\escaped@${domain}`, /^501 5\.1\.3 /],
    ["S38", "bob@else.test", /^550 5\.7\.1 /],
    ["S38", `alice%else.test@${domain}`, /^550 5\.1\.1 /],
    ["S38", `"alice@else.test"@${domain}`, /^501 5\.1\.3 /],
    ["S38", `@${domain}:bob@else.test`, /^550 5\.7\.1 /],
    ["S38", `alice@sub.${domain}`, /^550 5\.7\.1 /],
  ])("%s: RCPT TO:<%s>", async (_id, recipient, reply) => {
    await session(async (client) => {
      await client.expect(250, `MAIL FROM:${from}`);
      expect(await answer(client, `RCPT TO:<${recipient}>`)).toMatch(reply);
      await client.expect(503, "DATA");
    });
  });

  test("S19: no file was made of an address", () => {
    const files = readdirSync(ring.folder, { recursive: true }).map(String);
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => file.includes("escaped"))).toEqual([]);
  });
});

test("S11: 100,000 recipients: a thousand, then 452", async () => {
  await session(async (client) => {
    await client.expect(250, `MAIL FROM:${from}`);
    const counts = new Map<string, number>();
    const batch = 5_000;
    for (let first = 0; first < 100_000; first += batch) {
      const names = Array.from({ length: batch }, (_, at) => `alice+${first + at}@${domain}`);
      client.wire.write(names.map((name) => `RCPT TO:<${name}>\r\n`).join(""));
      for (let n = 0; n < batch; n += 1) {
        const reply = (await client.reply()).lines.join().slice(0, 9);
        counts.set(reply, (counts.get(reply) ?? 0) + 1);
      }
    }
    expect(Object.fromEntries(counts)).toEqual({ "250 2.1.5": 1_000, "452 4.5.3": 99_000 });
  });
});

test("S12: the same recipient twice, and spelt otherwise, is one copy", async () => {
  await session(async (client) => {
    const to = ["bob", "bob", "BOB", "bob+tag"].map((name) => `${name}@${domain}`);
    const { stored } = await client.send({ from: "", to }, Buffer.from("Subject: once\r\n\r\n"));
    expect(stored).toBe(true);
  });
  expect(await fetchAll(ring.member(1).pop3, "bob", password)).toHaveLength(1);
});

test("S14: the owners can't be reached: 451, never 550, until they can", async () => {
  const [first, ...others] = ring.members;
  const ask = async (name: string) => {
    const client = await SmtpClient.connect(first?.smtp ?? "");
    try {
      await client.expect(250, `MAIL FROM:${from}`);
      return await answer(client, `RCPT TO:<${name}@${domain}>`);
    } finally {
      client.destroy();
    }
  };
  for (const other of others) await other.kill("SIGSTOP");
  try {
    for (const name of ["carol", "dave", "nobody"])
      expect(await ask(name)).toMatch(/^451 4\.3\.0 /);
  } finally {
    for (const other of others) await other.kill("SIGCONT");
  }
  await waitUntil(async () => (await ask("nobody")).startsWith("550 5.1.1"), {
    deadlineMs: 60_000,
    what: "the owners to answer",
  });
});
