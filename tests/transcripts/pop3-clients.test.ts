/** Clients that others wrote: Python's poplib, curl, node-pop3. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import Pop3Command from "node-pop3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createPop3Server, type Pop3Server } from "../../src/pop3/index.js";
import { MemoryMaildrops } from "./pop3-support.js";

const run = promisify(execFile);
const timeout = 30_000;

const long = `Subject: long\r\n\r\n${".a line that begins with a dot\r\n".repeat(20_000)}`;
const mails = ["Subject: one\r\n\r\n.first\r\n..\r\nend\r\n", long];

let maildrops: MemoryMaildrops;
let server: Pop3Server;
let port: number;

beforeEach(async () => {
  maildrops = new MemoryMaildrops();
  maildrops.add("alice", "secret word", mails);
  maildrops.add("grün", "schlüssel", []);
  server = createPop3Server({ onAuth: maildrops.onAuth });
  ({ port } = await server.listen({ port: 0, host: "127.0.0.1" }));
});

afterEach(() => server.close());

const sha256 = (text: string) => createHash("sha256").update(text, "latin1").digest("hex");

describe("poplib", () => {
  const python = async (script: string) => {
    const head = "import hashlib, poplib, sys\npop = poplib.POP3('127.0.0.1', int(sys.argv[1]))\n";
    const { stdout } = await run("python3", ["-c", head + script, String(port)], { timeout });
    return stdout.trim().split("\n");
  };
  const login = "pop.user('alice'); pop.pass_('secret word')\n";

  test("reads and deletes", async () => {
    const script = `${login}
print(pop.stat())
print([x.decode() for x in pop.list()[1]], [x.decode() for x in pop.uidl()[1]])
for n in (1, 2):
    print(hashlib.sha256(b''.join(x + b'\\r\\n' for x in pop.retr(n)[1])).hexdigest())
print(pop.top(1, 1)[1], sorted(pop.capa())[:3])
pop.dele(1); pop.rset(); pop.dele(2); pop.noop()
print(pop.quit())`;
    expect(await python(script)).toEqual([
      `(2, ${mails.join("").length})`,
      `['1 ${mails[0]?.length}', '2 ${long.length}'] ['1 u1', '2 u2']`,
      ...mails.map(sha256),
      "[b'Subject: one', b'', b'.first'] ['AUTH-RESP-CODE', 'EXPIRE', 'IMPLEMENTATION']",
      "b'+OK signing off, 1 removed'",
    ]);
    expect(maildrops.mails.get("alice")).toHaveLength(1);
  });

  test("a name in UTF-8", async () => {
    const script =
      "pop.encoding = 'utf-8'\nprint(pop.utf8())\npop.user('grün')\nprint(pop.pass_('schlüssel'))";
    expect((await python(script))[1]).toBe("b'+OK logged in, 0 messages'");
  });

  test("a wrong password", async () => {
    const script =
      "pop.user('alice')\ntry: pop.pass_('x')\nexcept poplib.error_proto as e: print(e)";
    expect((await python(script))[0]).toContain("-ERR [AUTH]");
  });
});

describe("curl", () => {
  const curl = async (path: string, ...options: string[]) => {
    const url = `pop3://127.0.0.1:${port}/${path}`;
    const args = ["-sS", "--max-time", "20", "-u", "alice:secret word", ...options, url];
    return (await run("curl", args, { timeout, maxBuffer: 1e8 })).stdout;
  };

  test.each([[[]], [["--login-options", "AUTH=PLAIN"]], [["--sasl-ir"]]])("%j", async (options) => {
    expect(await curl("", ...options)).toBe(`1 ${mails[0]?.length}\r\n2 ${long.length}\r\n`);
    expect(await curl("1", ...options)).toBe(mails[0]);
    expect(await curl("2", ...options)).toBe(long);
  });

  test("deletes", async () => {
    await curl("1", "-X", "DELE", "--head");
    expect(maildrops.mails.get("alice")).toHaveLength(1);
  });
});

test("node-pop3", async () => {
  const options = { user: "alice", password: "secret word", host: "127.0.0.1", port };
  const client = new Pop3Command(options);
  expect(await client.UIDL()).toEqual([
    ["1", "u1"],
    ["2", "u2"],
  ]);
  expect(await client.RETR(1)).toContain("Subject: one");
  await client.command("DELE", "1");
  await client.QUIT();
  expect(maildrops.mails.get("alice")).toHaveLength(1);
});
