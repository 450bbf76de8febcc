/** Rude and unlucky POP3 clients against a ring of three. Member 2 takes no password in clear. */
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificate.js";
import { fetchAll, loginWhenFree, Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { waitUntil } from "../support/wait.js";
import { hostPort } from "../support/wire.js";
import { TestClient } from "../transcripts/pop3-support.js";

const scope = ringScope("file");
const { cert, certPath, keyPath } = makeCertificate();
let ring: Ring;
let serial = 0;

beforeAll(async () => {
  const args = ["--tls-cert", certPath, "--tls-key", keyPath, "--bits", "16"];
  const place = (index: number) => ({ args: index === 2 ? ["--plain-auth", "never"] : [] });
  ring = await scope.start({ members: 3, replicas: 2, args, place });
});

/** A fresh account with mails of different sizes in its maildrop. */
async function maildrop(mails: number): Promise<string> {
  const name = `drop-${serial++}`;
  await ring.addUsers([name]);
  for (let n = 0; n < mails; n += 1) {
    const mail = Buffer.from(`Subject: ${n}\r\n\r\n${"x".repeat(10 * n)}\r\n`);
    await sendMail(ring.member(n % 3).smtp, { from: "", to: [`${name}@${domain}`] }, mail);
  }
  return name;
}

const login = (index: number, name: string) =>
  loginWhenFree(ring.member(index).pop3, name, password);

async function uidsAt(index: number, name: string): Promise<string[]> {
  return (await fetchAll(ring.member(index).pop3, name, password)).map(({ uid }) => uid);
}

/** What a login is told that is refused. */
async function refusal(index: number, name: string, secret = password): Promise<string> {
  const login = Pop3Client.login(ring.member(index).pop3, name, secret, 60_000);
  const error = await login.then(
    (client) => {
      client.destroy();
      throw new Error("was let in");
    },
    (failure: unknown) => failure,
  );
  if (error instanceof Pop3Refused) return error.line;
  throw error;
}

const raw = (index: number) => new TestClient(hostPort(ring.member(index).pop3).port);

describe("commands in any pieces (P1)", () => {
  const commands = (name: string) =>
    `USER ${name}\r\nPASS ${password}\r\nSTAT\r\nLIST\r\nDELE 2\r\nRSET\r\nRETR 1\r\nQUIT\r\n`;

  async function replies(send: (client: TestClient) => Promise<void>) {
    const client = raw(0);
    await send(client);
    return client.rest();
  }

  test("a whole session in one segment, and octet by octet: the same ordered replies", async () => {
    const name = await maildrop(2);
    const session = commands(name);
    const inOne = await replies(async (client) => client.send(session));
    const pattern =
      /^\+OK .*\r\n\+OK .*\r\n\+OK .*\r\n\+OK 2 (\d+)\r\n\+OK .*\r\n1 (\d+)\r\n2 (\d+)\r\n\.\r\n\+OK .*\r\n\+OK .*\r\n\+OK \2 octets\r\n[^]*\r\n\.\r\n\+OK .*\r\n$/;
    const [, sum, first, second] = pattern.exec(inOne) ?? [];
    expect(Number(first) + Number(second)).toBe(Number(sum));
    const inPieces = await replies(async (client) => {
      for (const octet of session) {
        client.send(octet);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    expect(inPieces).toBe(inOne);
  });
});

describe("one session at a time (P2)", () => {
  test("a second login through another member is told so, until the first one ends", async () => {
    const name = await maildrop(1);
    const first = await login(0, name);
    expect(await refusal(1, name)).toMatch(/^-ERR \[IN-USE\]/);
    first.wire.reset();
    await (await login(1, name)).quit();
  });
});

describe("deletions without a QUIT (P3)", () => {
  test.each(["reset", "destroy"] as const)("the line drops: %s", async (how) => {
    const name = await maildrop(2);
    const before = await uidsAt(0, name);
    const client = await login(1, name);
    await client.expect("DELE 1");
    client.wire[how]();
    for (const index of [0, 1]) expect(await uidsAt(index, name)).toEqual(before);
  });
});

test("numbers after DELE stay, deleted mails are not counted (P7)", async () => {
  const name = await maildrop(3);
  const client = await login(1, name);
  const sizes = (await client.list()).map(([, octets]) => octets);
  const [one, , three] = sizes as [number, number, number];
  await client.expect("DELE 2");
  expect(await client.stat()).toEqual({ messages: 2, octets: one + three });
  expect((await client.multiline("LIST")).toString()).toBe(`1 ${one}\r\n3 ${three}\r\n`);
  expect(await client.expect("LIST 3")).toBe(`+OK 3 ${three}`);
  expect((await client.command("LIST 2")).ok).toBe(false);
  expect((await client.retr(3)).length).toBe(three);
  await client.expect("RSET");
  await client.quit();
});

test("numbers that no mail has (P8)", async () => {
  const name = await maildrop(1);
  const client = await login(0, name);
  const numbers = ["0", "-1", "1000", "1".padEnd(21, "0"), "", "x", "1x", "0x1", "1.0", "+1", "１"];
  for (const number of numbers) {
    for (const verb of ["RETR", "DELE", "TOP"]) {
      const line = verb === "TOP" ? `TOP ${number} 1` : `${verb} ${number}`;
      expect((await client.command(line)).ok, line).toBe(false);
    }
    if (number !== "") expect((await client.command(`LIST ${number}`)).ok).toBe(false);
  }
  expect((await client.command("TOP 1 -1")).ok).toBe(false);
  expect(await client.stat()).toMatchObject({ messages: 1 });
  await client.quit();
});

test("a wrong password and an unknown user: the same answer, as slow (P9)", async () => {
  const rounds = 5;
  // Each name fails once only: what follows on failures is answered later and later.
  const names = Array.from({ length: rounds }, (_, round) => `known-${round}`);
  await ring.addUsers(names);
  const tookMs = { wrong: [] as number[], unknown: [] as number[] };
  const answers = new Set<string>();
  for (const [round, known] of names.entries()) {
    for (const [kind, user] of [
      ["wrong", known],
      ["unknown", `nobody-${round}`],
    ] as const) {
      const client = await Pop3Client.connect(ring.member(round % 2).pop3);
      answers.add(await client.expect(`USER ${user}`));
      const beganMs = performance.now();
      answers.add((await client.command(`PASS wrong-${round}`)).line);
      tookMs[kind].push(performance.now() - beganMs);
      client.destroy();
    }
  }
  expect(answers.size).toBe(2);
  expect([...answers][1]).toMatch(/^-ERR \[AUTH\]/);
  // A hash that is left out is a factor of ten and more.
  const ratio = Math.min(...tookMs.unknown) / Math.min(...tookMs.wrong);
  expect(ratio, JSON.stringify(tookMs)).toBeGreaterThan(0.4);
  expect(ratio, JSON.stringify(tookMs)).toBeLessThan(2.5);
});

describe("TLS (P11)", () => {
  async function begun(index: number): Promise<TestClient> {
    const client = raw(index);
    await client.line();
    return client;
  }

  test("where it is required, no password is taken in clear", async () => {
    const name = await maildrop(1);
    const client = await begun(2);
    client.send("CAPA\r\n");
    expect((await client.until("\r\n.\r\n")).match(/^(STLS|USER|SASL .*PLAIN.*)\r$/gm)).toEqual([
      "STLS\r",
    ]);
    const plain = Buffer.from(`\0${name}\0${password}`).toString("base64");
    for (const line of [`USER ${name}`, `PASS ${password}`, `AUTH PLAIN ${plain}`, "STAT"]) {
      expect(await client.ask(line)).toMatch(/^-ERR (?!\[AUTH\])/);
    }
    client.socket.destroy();
  });

  test("commands pipelined behind STLS are discarded", async () => {
    const name = await maildrop(1);
    const clear = await begun(0);
    clear.send(`USER ${name}\r\nSTLS\r\nPASS ${password}\r\nDELE 1\r\nQUIT\r\nUSER `);
    expect(await clear.line()).toMatch(/^\+OK/);
    expect(await clear.line()).toMatch(/^\+OK/);
    const client = await clear.secured({ ca: cert });
    // Neither what came before nor what came behind is known: this is the first reply in TLS.
    expect(await client.ask(`PASS ${password}`)).toMatch(/^-ERR USER first/);
    expect(await client.ask("NOOP")).toMatch(/^-ERR/);
    expect(await client.ask(`USER ${name}`)).toMatch(/^\+OK/);
    expect(await client.ask(`PASS ${password}`)).toMatch(/^\+OK/);
    expect(await client.ask("STAT")).toMatch(/^\+OK 1 /);
    expect(await client.ask("QUIT")).toMatch(/^\+OK/);
  });

  test("with it, a session as any other; a broken handshake ends itself only", async () => {
    const name = await maildrop(1);
    const [mail] = await fetchAll(ring.member(0).pop3, name, password);
    const bytes = mail?.bytes ?? Buffer.alloc(0);
    const broken = await begun(2);
    await broken.ask("STLS");
    broken.send(Buffer.alloc(1_000, 0x42));
    await broken.rest();
    const { host, port } = hostPort(ring.member(2).pop3s);
    const client = new TestClient(connectTls({ host, port, ca: cert, servername: "localhost" }));
    expect(await client.login(name, password)).toMatch(/^\+OK/);
    client.send("RETR 1\r\nQUIT\r\n");
    expect(await client.rest()).toContain(`+OK ${bytes.length} octets\r\n${bytes.toString()}.\r\n`);
  });
});

describe("when most of the ring does not answer", () => {
  const others = () => [ring.member(1), ring.member(2)];
  const freeze = async () => {
    for (const member of others()) await member.kill("SIGSTOP");
  };
  const thaw = async () => {
    for (const member of others()) await member.kill("SIGCONT");
    await ring.settled();
  };

  test("no login is told that its password is wrong (P10)", async () => {
    const name = await maildrop(1);
    // A member knows a password that it has checked a moment ago.
    await (await login(0, name)).quit();
    await freeze();
    try {
      expect(await refusal(0, name)).toMatch(/^-ERR \[SYS\/TEMP\]/);
      expect(await refusal(0, name, "wrong")).toMatch(/^-ERR \[SYS\/TEMP\]/);
      expect(await refusal(0, "nobody-at-all")).toMatch(/^-ERR \[SYS\/TEMP\]/);
    } finally {
      await thaw();
    }
    await (await login(0, name)).quit();
  });

  test("a QUIT that can't delete durably says so, and deletes nothing (P4)", async () => {
    const name = await maildrop(2);
    const before = await uidsAt(0, name);
    const client = await Pop3Client.login(ring.member(0).pop3, name, password, 60_000);
    await client.expect("DELE 1");
    await freeze();
    try {
      expect((await client.command("QUIT")).line).toMatch(/^-ERR \[SYS\/TEMP\]/);
    } finally {
      await thaw();
    }
    for (const index of [0, 1]) {
      const what = `the maildrop at member ${index}`;
      const uids = await waitUntil(() => uidsAt(index, name), { deadlineMs: 60_000, what });
      expect(uids).toEqual(before);
    }
  });
});

describe("a member that dies with a session", () => {
  test("nothing is deleted (P3), and the lease ends (P2)", async () => {
    const name = await maildrop(2);
    const before = await uidsAt(0, name);
    const holder = await login(1, name);
    await holder.expect("DELE 2");
    await ring.member(1).kill("SIGKILL");
    holder.destroy();
    const next = await waitUntil(() => login(0, name), {
      deadlineMs: 60_000,
      what: "the maildrop to be free",
    });
    expect(await next.uidl()).toEqual(before);
    await next.quit();
    await ring.member(1).restart();
    await ring.settled();
    expect(await uidsAt(1, name)).toEqual(before);
  });
});

test("and after all that each member still serves", async () => {
  for (const member of ring.members) {
    const { host, port } = hostPort(member.pop3);
    const socket = connect({ host, port });
    const [greeting] = (await once(socket, "data")) as [Buffer];
    expect(greeting.toString()).toMatch(/^\+OK /);
    socket.destroy();
  }
});
