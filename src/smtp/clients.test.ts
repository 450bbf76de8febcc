/** Clients that others wrote. Those that are not installed here are skipped, which the run says. */
import { execFile, spawnSync } from "node:child_process";
import { promisify } from "node:util";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import nodemailer from "nodemailer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { start, type Running } from "./testing.js";
import { temporaryFolder } from "./testing-folders.js";

const run = promisify(execFile);

function installed(command: string): boolean {
  return spawnSync(command, ["--version"]).status === 0;
}

let running: Running;

beforeAll(async () => {
  running = await start();
});

afterAll(async () => {
  await running.server.close();
});

/** The mail that came last, once the client has said good-bye. */
function last() {
  const kept = running.receiver.kept.at(-1);
  return { mailbox: kept?.mailbox, text: kept?.body.toString() ?? "" };
}

test("nodemailer, with attachments, a pool and UTF-8 addresses", async () => {
  const transport = nodemailer.createTransport({
    host: "127.0.0.1",
    port: running.port,
    pool: true,
    ignoreTLS: true,
  });
  const before = running.receiver.kept.length;
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      transport.sendMail({
        from: "bob@else.test",
        to: [`u${i}@ring.test`, "jos\u00e9@ring.test"],
        subject: `.leading dot ${i}`,
        text: ".\n..\n.dots\n",
        attachments: [{ filename: "a.bin", content: Buffer.alloc(5_000, i) }],
      }),
    ),
  );
  transport.close();
  expect(running.receiver.kept.length - before).toBe(40);
  expect(last().text).toContain("\r\n.\r\n..\r\n.dots\r\n");
});

describe.skipIf(!installed("swaks"))("swaks (skipped when it is not installed)", () => {
  test.each([[[]], [["--pipeline"]]])("%j", async (options) => {
    const { stdout } = await run("swaks", [
      ...["--server", `127.0.0.1:${running.port}`, "--helo", "client.test"],
      ...["--from", "bob@else.test", "--to", "alice@ring.test,carol@ring.test"],
      ...["--body", "one\n.\n..two\n", ...options],
    ]);
    expect(stdout).toMatch(/250 2\.0\.0 [0-9a-f]{32} stored=2\/3/);
    expect(last().text).toContain("one\r\n.\r\n..two\r\n");
  });
});

describe.skipIf(!installed("curl"))("curl (skipped when it is not installed)", () => {
  test("uploads a mail with its SIZE", async () => {
    const file = path.join(temporaryFolder("curl"), "mail");
    const mail = `Subject: x\r\n\r\n.\r\n..\r\n${"y".repeat(70)}\r\n`.repeat(1_000);
    await writeFile(file, mail);
    await run("curl", [
      ...["-sS", `smtp://127.0.0.1:${running.port}/client.test`, "--upload-file", file],
      ...["--mail-from", "bob@else.test", "--mail-rcpt", "dave@ring.test"],
    ]);
    expect(last()).toEqual({ mailbox: "dave@ring.test", text: mail });
  });
});

describe.skipIf(!installed("python3"))(
  "Python's smtplib (skipped when it is not installed)",
  () => {
    test("sends two mails and learns of a refused recipient", async () => {
      const script = `
import smtplib
with smtplib.SMTP("127.0.0.1", ${running.port}) as client:
    for i in range(2):
        refused = client.sendmail("bob@else.test", ["erin@ring.test", "nobody@ring.test"],
                                  "Subject: x\\r\\n\\r\\n.\\r\\n.dot %d\\r\\n" % i)
    print(refused["nobody@ring.test"])
`;
      const { stdout } = await run("python3", ["-c", script]);
      expect(stdout.trim()).toBe("(550, b'5.1.1 no such user here')");
      expect(last()).toEqual({
        mailbox: "erin@ring.test",
        text: "Subject: x\r\n\r\n.\r\n.dot 1\r\n",
      });
    });
  },
);
