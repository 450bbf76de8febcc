/** POP3 clients that others wrote, over TLS: STLS, and TLS from the first octet. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Pop3Command from "node-pop3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createPop3Server, type Pop3Server, type SessionInfo } from "../../src/pop3/index.js";
import { contextsOf, makeCertificate } from "../support/certificate.js";
import { canonical } from "../support/corpus.js";
import { needProgram, runOk, runProcess } from "../support/process.js";
import { MemoryMaildrops } from "../transcripts/pop3-support.js";

const { certPath, ...certificate } = makeCertificate();
const password = "secret word";
/** Of an OAuth client. */
const token = `ya29.${"A1b2".repeat(300)}`;
const mails = [
  "Subject: one\r\n\r\n.first\r\n..\r\nend\r\n",
  `Subject: two\r\n\r\n${".a line with a dot\r\n".repeat(10_000)}`,
];

const maildrops = new MemoryMaildrops();
/** The method and the TLS version of every login. */
let logins: string[] = [];
let servers: Pop3Server[] = [];
const ports = { stls: 0, tls: 0 };

const noted = (method: string, { secure, tls }: SessionInfo) =>
  logins.push(`${method} ${secure ? tls?.version : "in clear"}`);

beforeAll(async () => {
  const common = {
    plainAuth: "never" as const,
    tls: contextsOf({ certPath, ...certificate }),
    authMethods: ["USER", "XOAUTH2", "PLAIN"] as const,
    onAuth: (credentials, session) => {
      noted(credentials.method, session);
      return maildrops.onAuth(credentials);
    },
    onSasl: (mechanism, session) => ({
      async respond(data) {
        if (data === undefined) return { kind: "challenge", data: Buffer.alloc(0) };
        noted(mechanism, session);
        const text = data.toString();
        const bearer = text === `user=alice\x01auth=Bearer ${token}\x01\x01`;
        const [, username = "", secret = ""] = text.split("\0");
        const credentials = { method: "PLAIN" as const, username, password: secret };
        const alice = { method: "PLAIN" as const, username: "alice", password };
        const who = mechanism === "PLAIN" ? credentials : alice;
        if (mechanism !== "PLAIN" && !bearer) return { kind: "done", answer: { kind: "denied" } };
        return { kind: "done", answer: await maildrops.onAuth(who) };
      },
    }),
  } satisfies Parameters<typeof createPop3Server>[0];
  servers = [createPop3Server(common), createPop3Server({ ...common, implicitTls: true })];
  const [stls, tls] = await Promise.all(
    servers.map((server) => server.listen({ port: 0, host: "127.0.0.1" })),
  );
  Object.assign(ports, { stls: stls?.port, tls: tls?.port });
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.close({ deadlineMs: 1_000 })));
});

beforeEach(() => {
  maildrops.add("alice", password, mails);
  logins = [];
});

const ways = ["stls", "tls"] as const;

describe.each(ways)("%s", (way) => {
  const stls = way === "stls";

  async function curl(path: string, ...more: string[]): Promise<string> {
    const scheme = stls ? "pop3" : "pop3s";
    const login = ["-sS", "-m", "20", "--user", `alice:${password}`, "--cacert", certPath];
    const url = `${scheme}://localhost:${ports[way]}/${path}`;
    const tls = stls ? ["--ssl-reqd"] : [];
    return (await runOk("curl", [...login, ...tls, ...more, url])).stdout.toString("latin1");
  }

  test.each([[[]], [["--login-options", "AUTH=PLAIN"]], [["--tls-max", "1.2"]]])(
    "curl %j",
    async (more) => {
      expect(await curl("", ...more)).toBe(
        mails.map((mail, at) => `${at + 1} ${mail.length}\r\n`).join(""),
      );
      expect(await curl("1", ...more)).toBe(mails[0]);
      expect((await curl("2", ...more)) === mails[1]).toBe(true);
      const version = more.includes("--tls-max") ? "TLSv1.2" : "TLSv1.3";
      expect(logins).toHaveLength(3);
      for (const login of logins) expect(login).toMatch(new RegExp(` ${version}$`));
    },
  );

  test("curl with an OAuth token of 1,200 octets", async () => {
    const bearer = ["--oauth2-bearer", token, "--login-options", "AUTH=XOAUTH2"];
    expect(await curl("1", ...bearer)).toBe(mails[0]);
    expect(await curl("1", ...bearer, "--sasl-ir")).toBe(mails[0]);
    expect(logins).toEqual(["XOAUTH2 TLSv1.3", "XOAUTH2 TLSv1.3"]);
  });

  test("Python poplib", async () => {
    const open = stls
      ? "pop = poplib.POP3('localhost', port); before = pop.capa(); pop.stls(context=context)"
      : "pop = poplib.POP3_SSL('localhost', port, context=context); before = {}";
    const script = `
import poplib, ssl, sys, hashlib
port = ${ports[way]}
context = ssl.create_default_context(cafile=sys.argv[1])
${open}
after = pop.capa()
print('STLS' in before, 'USER' in before, 'STLS' in after, 'USER' in after)
pop.user('alice'); pop.pass_('${password}')
print(pop.stat())
print(sum(len(line) + 2 for line in pop.retr(2)[1]))
pop.dele(1)
print(pop.quit().decode())`;
    const { stdout } = await runOk("python3", ["-c", script, certPath]);
    expect(stdout.toString().trim().split("\n")).toEqual([
      stls ? "True False False True" : "False False False True",
      `(2, ${mails.join("").length})`,
      String(mails[1]?.length),
      "+OK signing off, 1 removed",
    ]);
    expect(logins).toEqual(["USER TLSv1.3"]);
    expect(maildrops.mails.get("alice")).toHaveLength(1);
  });

  test.each(["user", "plain"])("mpop, auth %s", async (auth) => {
    needProgram({ skip: (note) => expect.fail(note) }, "mpop");
    await inFolder(async (folder) => {
      const box = join(folder, "box");
      for (const name of ["cur", "new", "tmp"]) mkdirSync(join(box, name), { recursive: true });
      const where = ["--host=localhost", `--port=${ports[way]}`, "--tls=on"];
      const tls = [`--tls-starttls=${stls ? "on" : "off"}`, `--tls-trust-file=${certPath}`];
      const who = ["--user=alice", `--auth=${auth}`, "--passwordeval=printenv MPOP_SECRET"];
      const how = ["--keep=off", `--uidls-file=${join(folder, "uidls")}`, "--timeout=20"];
      const what = [`--delivery=maildir,${box}`, "--received-header=off"];
      const env = { HOME: folder, MPOP_SECRET: password };
      await runOk("mpop", [...where, ...tls, ...who, ...how, ...what], { env });
      expect(fetched(join(box, "new"))).toEqual([...mails].sort());
    });
    expect(logins).toEqual([`${auth.toUpperCase()} TLSv1.3`]);
    expect(maildrops.mails.get("alice")).toEqual([]);
  });

  test("fetchmail", async () => {
    needProgram({ skip: (note) => expect.fail(note) }, "fetchmail");
    await inFolder(async (folder) => {
      const rc = join(folder, "fetchmailrc");
      const mda = `cat > "$(mktemp ${folder}/got-XXXXXXXX)"`;
      const tls = stls ? "sslproto 'tls1.2+'" : "ssl sslproto 'tls1.2+'";
      const lines = [
        `poll localhost protocol pop3 service ${ports[way]} timeout 20`,
        `  user 'alice' password '${password}' ${tls} sslcertck sslcertfile '${certPath}'`,
        `  fetchall nokeep no rewrite no mimedecode mda '${mda}'`,
      ];
      const text = `set invisible\nset no bouncemail\n${lines.join("\n")}\n`;
      writeFileSync(rc, text, { mode: 0o600 });
      const env = { HOME: folder, FETCHMAILHOME: folder };
      const args = ["-f", rc, "--nosyslog", "--nodetach"];
      const { code, stderr } = await runProcess("fetchmail", args, { env });
      expect(code, stderr).toBe(0);
      expect(fetched(folder, "got-")).toEqual([...mails].sort());
    });
    expect(logins).toEqual(["USER TLSv1.3"]);
    expect(maildrops.mails.get("alice")).toEqual([]);
  });
});

test("node-pop3", async () => {
  const client = new Pop3Command({
    ...{ host: "localhost", port: ports.tls, tls: true, user: "alice", password },
    tlsOptions: { ca: certificate.cert } as object,
  });
  expect(await client.UIDL()).toEqual([
    ["1", "u1"],
    ["2", "u2"],
  ]);
  expect(await client.RETR(1)).toContain("Subject: one");
  await client.QUIT();
  expect(logins).toEqual(["USER TLSv1.3"]);
});

test("a client that insists on a password in clear is refused (P11)", async () => {
  const url = `pop3://localhost:${ports.stls}/`;
  const { code } = await runProcess("curl", [
    "-sS",
    "-m",
    "20",
    "--user",
    `alice:${password}`,
    url,
  ]);
  expect(code).not.toBe(0);
  expect(logins).toEqual([]);
});

/** Files of mail in a folder, with CRLF line ends again. */
function fetched(folder: string, prefix = ""): string[] {
  const files = readdirSync(folder).filter((name) => name.startsWith(prefix));
  return files.map((name) => canonical(readFileSync(join(folder, name))).toString("latin1")).sort();
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-tls-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
