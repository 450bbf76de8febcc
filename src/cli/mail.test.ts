import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MailViewer } from "../mail-view/viewer.js";
import type { MailView } from "../mail-view/view.js";
import { createPop3Server, type Pop3Server } from "../pop3/index.js";
import { listMail, readMail } from "./mail.js";
import { main } from "./main.js";
import { fakeWorld } from "./testing.js";

const evil = "\u001b]0;owned\u0007\u001b[2J\u202e";
const mails = [
  `From: ann@ring.test\r\nSubject: hello${evil}\r\n\r\nHi!\r\n`,
  `Subject: two\r\n\r\nline one\r\n.\r\n${evil}\r\n`,
];
let server: Pop3Server;
let pop3 = "";
let commits = 0;

beforeEach(async () => {
  commits = 0;
  server = createPop3Server({
    onAuth: async ({ username, password }) => {
      if (username !== "ann" || password !== "sécret") return { kind: "denied" };
      return {
        kind: "open",
        maildrop: {
          messages: mails.map((mail, n) => ({ uid: `u${n}`, octets: Buffer.byteLength(mail) })),
          retrieve: (index) => Buffer.from(mails[index] ?? ""),
          commit: async () => {
            commits += 1;
            return { kind: "removed" };
          },
          release: () => undefined,
        },
      };
    },
  });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" });
  pop3 = `127.0.0.1:${port}`;
});
afterEach(() => server.close());

/** Answers with what the test says; the real one runs from the build (tests/hostile). */
const viewerOf = (answer: (mail: Buffer) => MailView): MailViewer => ({
  view: async (mail) => answer(mail as Buffer),
  close: async () => undefined,
});
const parsed = (mail: Buffer): MailView => ({
  kind: "parsed",
  ...{ from: "ann@ring.test", to: "", cc: "", cut: false },
  subject: /^Subject: (.*)$/m.exec(mail.toString())?.[1] ?? "",
  text: mail.toString().split("\r\n\r\n")[1] ?? "",
  attachments: [{ name: `x${evil}.exe`, type: "text/plain", octets: 3 }],
});
const options = () => ({ pop3, user: "ann", passwordStdin: true });
const noControls = (lines: readonly string[]) => {
  for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\u202a-\u202e]/u);
};

test("list shows number, sender, subject and size, and drives no terminal", async () => {
  const world = fakeWorld({ stdin: "sécret\n" });
  await listMail(world, options(), viewerOf(parsed));
  expect(world.stdoutLines[0]).toMatch(/^no +date +from +subject +octets$/);
  expect(world.stdoutLines[1]).toMatch(
    /^ *1 +ann@ring\.test +hello\^\[\]0;owned\^G\^\[\[2J\S* +\d+$/,
  );
  expect(world.stdoutLines).toHaveLength(3);
  noControls(world.stdoutLines);
  for (const line of world.stdoutLines) expect([...line].length).toBeLessThanOrEqual(80);
});

test("read shows a mail as text and names its attachments, and drives no terminal", async () => {
  const world = fakeWorld({ stdin: "sécret\n" });
  await readMail(world, "2", options(), viewerOf(parsed));
  expect(world.stdoutLines.slice(0, 4)).toEqual([
    "From: ann@ring.test",
    "Subject: two",
    "",
    "line one",
  ]);
  expect(world.stdoutLines).toContain("^[]0;owned^G^[[2J<U+202E>");
  expect(world.stdoutLines.at(-1)).toMatch(/^\[attachment: x\S+\.exe, text\/plain, 3 octets\]$/);
  noControls(world.stdoutLines);
  expect(commits).toBe(0);
});

test("a mail that can't be parsed is shown as it came, with its controls made visible", async () => {
  const world = fakeWorld({ stdin: "sécret\n" });
  const unparsable = viewerOf(() => ({ kind: "unparsable", why: `no${evil}` }));
  await readMail(world, "1", options(), unparsable);
  expect(world.stdoutLines[0]).toMatch(/^\(shown as it came: no\^\[/);
  expect(world.stdoutLines).toContain("Subject: hello^[]0;owned^G^[[2J<U+202E>");
  noControls(world.stdoutLines);
});

describe("which POP3 port", () => {
  /** Ring port 110 below the server's: what `--entry` names. */
  const entry = () => `127.0.0.1:${Number(pop3.split(":")[1]) - 110}`;
  const listed = async (words: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const world = fakeWorld({ stdin: "wrong\n", env });
    const code = await main(["mail", "list", "--user", "ann", "--password-stdin", ...words], world);
    expect(world.stderrLines).toHaveLength(1);
    return { code, line: world.stderrLines[0] };
  };
  // A refused login shows that this server was asked.
  const asked = () => `chord: ${pop3} says to PASS: -ERR [AUTH]`;

  test.each([
    ["--entry", () => ["--entry", entry()], undefined],
    ["--server, as elsewhere", () => ["--server", `ringpost://${entry()}`], undefined],
    ["RINGPOST_ENTRY", () => [], () => ({ RINGPOST_ENTRY: entry() })],
    ["--pop3, whatever the entry is", () => ["--entry", "a:1", "--pop3", pop3], undefined],
  ])("by %s", async (_what, words, env) => {
    const { code, line } = await listed(words(), env?.());
    expect(code).toBe(1);
    expect(line).toContain(asked());
  });

  test("nobody at a derived port: said from what it was derived, and which flag names another", async () => {
    await server.close();
    const { code, line } = await listed(["--entry", entry()]);
    expect(code).toBe(1);
    expect(line).toContain(`${pop3}: connect ECONNREFUSED`);
    expect(line).toContain(`this port is derived from ${entry()}: --pop3 names another`);
    const named = await listed(["--pop3", pop3]);
    expect(named.line).not.toContain("derived");
  });

  test.each([
    [["--entry", "nonsense"], /--entry "nonsense" is not ringpost:\/\/host:port or host:port/],
    [["--entry", "a:65500"], /--entry "a:65500" leaves no port for submission/],
    [["--pop3", "nonsense"], /--pop3 nonsense: must be host:port/],
  ])("%j is wrong usage", async (words, says) => {
    const { code, line } = await listed(words);
    expect(code).toBe(2);
    expect(line).toMatch(says);
  });

  test("an entry in front of the verb would silently ask somebody else", async () => {
    const world = fakeWorld();
    const words = ["mail", "--entry", "a:1", "list", "--user", "ann"];
    expect(await main(words, world)).toBe(2);
    expect(world.stderrLines).toEqual(['chord: --entry stands before "list"; put it behind it']);
  });
});

describe("refusals are one line each", () => {
  test.each([
    ["a wrong password", ["read", "1"], "wrong\n", /says to PASS: -ERR \[AUTH\]/],
    ["no such mail", ["read", "9"], "sécret\n", /there is no mail 9: the mailbox has 2 mails/],
    ["no number", ["read", "-1"], "sécret\n", /unknown option|number/],
    ["no terminal", [], "sécret\n", /chord mail needs a terminal; scripts use chord mail list/],
  ])("%s", async (_what, words, stdin, line) => {
    const world = fakeWorld({ stdin });
    const own =
      words.length === 0
        ? ["--user", "ann"]
        : ["--pop3", pop3, "--user", "ann", "--password-stdin"];
    expect(await main(["mail", ...words, ...own], world)).toBeGreaterThan(0);
    expect(world.stderrLines).toHaveLength(1);
    expect(world.stderrLines[0]).toMatch(line);
    expect(world.stdoutLines).toEqual([]);
  });
});

describe("TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-mail-"));
  const [key, cert] = [join(folder, "key"), join(folder, "cert")];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
    ],
    { stdio: "ignore" },
  );
  const pems = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });

  /** A port that offers STLS and notes what it heard in clear. `injected`: what follows its +OK. */
  async function starttls(injected = "") {
    const clear: string[] = [];
    const sockets: Socket[] = [];
    const listener = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.write("+OK ready\r\n");
      socket.on("data", function hear(chunk: Buffer) {
        const line = chunk.toString();
        clear.push(line.trim());
        if (line.startsWith("CAPA")) socket.write("+OK\r\nSTLS\r\n.\r\n");
        if (!line.startsWith("STLS")) return;
        socket.off("data", hear);
        socket.write(`+OK go\r\n${injected}`);
        const secured = new TLSSocket(socket, { isServer: true, ...pems });
        secured.on("error", () => undefined);
        secured.on("data", (octets: Buffer) => {
          const said = octets.toString();
          secured.write(
            said.startsWith("STAT")
              ? "+OK 0 0\r\n"
              : said.startsWith("LIST")
                ? "+OK\r\n.\r\n"
                : "+OK\r\n",
          );
        });
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const { port } = listener.address() as AddressInfo;
    const close = () => {
      for (const socket of sockets) socket.destroy();
      listener.close();
    };
    return { clear, port, close };
  }

  test("is used where it is offered; here a certificate of one's own will do", async () => {
    const { clear, port, close } = await starttls();
    const world = fakeWorld({ stdin: "sécret\n" });
    await listMail(world, { ...options(), pop3: `127.0.0.1:${port}` }, viewerOf(parsed));
    expect(world.stdoutLines).toEqual(["No mail."]);
    expect(clear).toEqual(["CAPA", "STLS"]);
    close();
  });

  test("what is injected in front of TLS ends it, and no password is said", async () => {
    const { clear, port, close } = await starttls("+OK injected\r\n");
    const world = fakeWorld({ stdin: "sécret\n" });
    const listing = listMail(world, { ...options(), pop3: `127.0.0.1:${port}` }, viewerOf(parsed));
    await expect(listing).rejects.toThrow();
    expect(clear).toEqual(["CAPA", "STLS"]);
    close();
  });
});
