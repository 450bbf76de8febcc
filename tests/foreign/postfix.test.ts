/** Mail between a ring and a foreign mail system: Postfix and Dovecot, through the ring's relay and back. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ForeignMail, foreignMailMissing } from "../support/foreign-mail.js";
import { startBeside } from "../support/foreign-ring.js";
import { fetchAll } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";

const missing = foreignMailMissing();
if (missing !== undefined) process.stderr.write(`no foreign mail system: ${missing}\n`);
const scope = ringScope("file");
let ring: Ring;
let foreign: ForeignMail;

beforeAll(async () => {
  if (missing !== undefined) return;
  ({ ring, foreign } = await startBeside(scope, { users: ["alice"] }));
});

afterAll(() => foreign?.stop());

/** The mail of a maildrop that contains a text, once it is there. */
function mailWith(text: string, pop3: string, user: string, secret: string): Promise<string> {
  return waitUntil(
    async () => {
      const mails = (await fetchAll(pop3, user, secret)).map(({ bytes }) =>
        bytes.toString("latin1"),
      );
      return mails.find((mail) => mail.includes(text));
    },
    { deadlineMs: 60_000, what: `a mail with ${text} for ${user}\n${foreign.log()}`, everyMs: 200 },
  );
}

describe.skipIf(missing !== undefined)("between a ring and Postfix with Dovecot", () => {
  test("a foreign account's mail reaches an account of the ring", async () => {
    const mail = Buffer.from("Subject: from elsewhere\r\n\r\nhello ring\r\n");
    const envelope = { from: "ann@foreign.test", to: [`alice@${domain}`] };
    await sendMail(foreign.smtp, envelope, mail);
    const got = await mailWith("hello ring", ring.entry.pop3, "alice", password);
    expect(got).toContain("Return-Path: <ann@foreign.test>");
    expect(got).toContain("mail.foreign.test");
  });

  test("what leaves the ring reaches a foreign mailbox, from the null sender, through any member", async () => {
    for (const member of ring.members) {
      const { messageId } = await admin(member.addr, "relayTest", { to: "bob@foreign.test" });
      const got = await mailWith(messageId, foreign.pop3, "bob", foreign.password);
      expect(got).toContain("Return-Path: <>");
      expect(got).not.toContain("Ringpost-Outgoing-To");
    }
  });

  test("an address with a tag", async () => {
    const to = "ann+data@foreign.test";
    const { messageId } = await admin(ring.entry.addr, "relayTest", { to });
    const got = await mailWith(messageId, foreign.pop3, "ann", foreign.password);
    expect(got).toContain(`To: <${to}>`);
  });

  test("nobody of that name: Postfix refuses, the ring gives it up and keeps nothing", async () => {
    await admin(ring.entry.addr, "relayTest", { to: "nobody@foreign.test" });
    await waitUntil(
      async () => expect(await admin(ring.entry.addr, "relayStatus", {})).toEqual({ waiting: 0 }),
      { deadlineMs: 30_000, what: "nothing to wait", everyMs: 100 },
    );
    const logs = ring.members.map((member) => member.tail(200)).join("\n");
    expect(logs).toContain("an outgoing mail was given up");
  });
});
