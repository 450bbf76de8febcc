/** Clients that others wrote, handing in mail. Those that are not installed here are skipped. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import nodemailer from "nodemailer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { start, type Running } from "./testing.js";
import { alice, FakeAuthenticator, FakeSenders, FakeTls } from "./testing-auth.js";

const run = promisify(execFile);

function installed(command: string): boolean {
  return spawnSync(command, ["--version"]).status === 0;
}

type Way = "STARTTLS" | "TLS";
const ways: readonly Way[] = ["STARTTLS", "TLS"];
const schemes: Readonly<Record<Way, string>> = { STARTTLS: "smtp", TLS: "smtps" };

const listeners = new Map<Way, Running>();
let authenticator: FakeAuthenticator;
let tls: FakeTls;
let folder: string;
let trusted: string;

beforeAll(async () => {
  tls = new FakeTls();
  authenticator = new FakeAuthenticator();
  // Passwords in clear are not even taken on loopback: a client that forgets TLS fails.
  const submission = { authenticator, senders: new FakeSenders(), plainAuth: "never" } as const;
  for (const way of ways) {
    listeners.set(way, await start({ tls, submission, implicitTls: way === "TLS" }));
  }
  folder = await mkdtemp(path.join(tmpdir(), "ringpost-clients-"));
  trusted = path.join(folder, "trusted.pem");
  await writeFile(trusted, tls.pem.cert);
});

afterAll(async () => {
  for (const { server } of listeners.values()) await server.close();
  await rm(folder, { recursive: true });
});

function listener(way: Way): Running {
  const found = listeners.get(way);
  if (found === undefined) throw new Error("no such listener");
  return found;
}

/** Runs `send` and returns the copies that it made; checks who they are from and for. */
async function copiesOf(way: Way, send: (port: number) => Promise<unknown>): Promise<string[]> {
  const { receiver, port } = listener(way);
  const before = receiver.kept.length;
  await send(port);
  const copies = receiver.kept.slice(before);
  expect(copies.map(({ mailbox }) => mailbox)).toEqual(["bob@ring.test", `${alice.user}/outbox`]);
  for (const { trace } of copies) expect(trace).toMatch(/\bwith ESMTPSA \(TLSv1\.3\)/);
  return copies.map(({ body }) => body.toString());
}

const lastMechanism = () => authenticator.tries.at(-1)?.mechanism;
const text = "Subject: x\r\nMessage-ID: <a@b>\r\nDate: y\r\n\r\n.\r\n..two\r\n";

describe.each(ways)("%s", (way) => {
  test.each(["PLAIN", "LOGIN", "XOAUTH2"])("nodemailer, %s", async (mechanism) => {
    const transport = nodemailer.createTransport({
      ...{ host: "127.0.0.1", secure: way === "TLS", requireTLS: way === "STARTTLS" },
      port: listener(way).port,
      tls: { ca: tls.pem.cert },
      authMethod: mechanism,
      auth:
        mechanism === "XOAUTH2"
          ? { type: "OAuth2", user: alice.user, accessToken: alice.token }
          : { user: alice.user, pass: alice.pass },
    });
    const [copy] = await copiesOf(way, () =>
      transport.sendMail({ from: alice.user, to: "bob@ring.test", text: ".\n..dots\n" }),
    );
    expect(copy).toContain("\r\n\r\n.\r\n..dots\r\n");
    expect(lastMechanism()).toBe(mechanism);
  });

  test("nodemailer learns that a password is wrong", async () => {
    const transport = nodemailer.createTransport({
      ...{ host: "127.0.0.1", secure: way === "TLS", requireTLS: way === "STARTTLS" },
      port: listener(way).port,
      tls: { ca: tls.pem.cert },
      auth: { user: alice.user, pass: "wrong" },
    });
    await expect(
      transport.sendMail({ from: alice.user, to: "bob@ring.test", text: "x" }),
    ).rejects.toMatchObject({ code: "EAUTH", responseCode: 535 });
  });

  describe.skipIf(!installed("curl"))("curl", () => {
    // Told to use XOAUTH2, it uses OAUTHBEARER where that is offered, too.
    test.each(["PLAIN", "LOGIN", "OAUTHBEARER"])("%s", async (mechanism) => {
      const file = path.join(folder, `mail-${way}-${mechanism}`);
      await writeFile(file, text);
      const secret =
        mechanism === "OAUTHBEARER"
          ? ["--user", alice.user, "--oauth2-bearer", alice.token]
          : ["--user", `${alice.user}:${alice.pass}`];
      const [copy] = await copiesOf(way, (port) =>
        run("curl", [
          ...["-sS", `${schemes[way]}://127.0.0.1:${port}/client.test`],
          ...["--ssl-reqd", "--cacert", trusted, "--login-options", `AUTH=${mechanism}`],
          ...[...secret, "--upload-file", file],
          ...["--mail-from", alice.user, "--mail-rcpt", "bob@ring.test"],
        ]),
      );
      expect(copy).toBe(text);
      expect(lastMechanism()).toBe(mechanism);
    });

    test("a certificate that it does not know ends it", async () => {
      const url = `${schemes[way]}://127.0.0.1:${listener(way).port}`;
      await expect(run("curl", ["-sS", url, "--ssl-reqd"])).rejects.toMatchObject({ code: 60 });
      expect((await copiesOf(way, (port) => smtplib(way, port)))[0]).toBe(text);
    });
  });

  describe.skipIf(!installed("swaks"))("swaks", () => {
    test.each(["PLAIN", "LOGIN"])("%s", async (mechanism) => {
      await copiesOf(way, (port) =>
        run("swaks", [
          ...["--server", `127.0.0.1:${port}`, "--helo", "client.test"],
          way === "TLS" ? "--tls-on-connect" : "--tls",
          ...["--auth", mechanism, "--auth-user", alice.user, "--auth-password", alice.plainer],
          ...["--from", alice.user, "--to", "bob@ring.test", "--body", "one\n.\n..two\n"],
        ]),
      );
      expect(lastMechanism()).toBe(mechanism);
    });
  });

  test.skipIf(!installed("python3"))("Python's smtplib", async () => {
    expect((await copiesOf(way, (port) => smtplib(way, port)))[0]).toBe(text);
  });
});

async function smtplib(way: Way, port: number): Promise<void> {
  const script = `
import smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
secure = sys.argv[2] == "TLS"
make = (lambda: smtplib.SMTP_SSL("127.0.0.1", ${port}, context=context)) if secure else \\
       (lambda: smtplib.SMTP("127.0.0.1", ${port}))
with make() as client:
    if not secure:
        client.starttls(context=context)
    client.login(sys.argv[3], sys.argv[4])
    client.sendmail(sys.argv[3], ["bob@ring.test"], sys.argv[5])
`;
  await run("python3", ["-c", script, trusted, way, alice.user, alice.plainer, text]);
}
