/** Against real listeners in this process: nodemailer and our POP3 client as the SDK uses them. */
import { createServer } from "node:net";
import { afterEach, expect, test } from "vitest";
import { contextsOf, makeCertificate } from "../../../tests/support/certificate.js";
import {
  type MailAccount,
  type MailAccountOptions,
  startMailAccount,
} from "../../../tests/support/mail-account.js";
import { Post } from "./post.js";
import { withMaildrop } from "./pop3.js";
import { MailSender } from "./sender.js";
import { Servers } from "./servers.js";
import { tlsFor } from "./tls.js";

const certificate = makeCertificate();
const patience = { connectMs: 20_000, stallMs: 20_000 };
const login = { user: "alice", password: "secret" };
const signal = new AbortController().signal;
const mail = Buffer.from("Subject: x\r\n\r\n.dots\r\n..\r\n");
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(options: Partial<MailAccountOptions> = {}): Promise<MailAccount> {
  const account = await startMailAccount({ ...login, token: "a-token", ...options });
  ends.push(() => account.close());
  return account;
}

function sender(): MailSender {
  const made = new MailSender({ tls: "auto", linesMax: 1 });
  ends.push(() => made.close());
  return made;
}

const outgoing = { from: "alice@a.test", to: ["bob@b.test"], octets: mail };
const routeTo = ({ smtp: at }: MailAccount) => ({ at, implicitTls: false });

test("mails go as they are, over one connection that stays open; replies are read whole", async () => {
  const account = await start();
  account.reply = () => ({ code: 250, text: "2.0.0 ebm=taken n=1 routed=2 stored=2/3" });
  const post = sender();
  for (let n = 0; n < 3; n += 1) {
    const reply = await post.send(routeTo(account), () => outgoing, patience);
    expect(reply).toEqual({ code: 250, text: "2.0.0 ebm=taken n=1 routed=2 stored=2/3" });
  }
  expect(account.connections).toBe(1);
  expect(account.sent.map(({ octets }) => octets.toString())).toEqual(Array(3).fill(String(mail)));
});

test("a refusal is a reply, and the connection goes on", async () => {
  const account = await start();
  const post = sender();
  account.reply = () => ({ code: 451, text: "4.3.0 ebm=early main:3" });
  expect(await post.send(routeTo(account), () => outgoing, patience)).toEqual({
    code: 451,
    text: "4.3.0 ebm=early main:3",
  });
  account.reply = () => ({ code: 250, text: "ok" });
  expect(await post.send(routeTo(account), () => outgoing, patience)).toMatchObject({ code: 250 });
  expect(account.connections).toBe(1);
});

test("what is larger than the server's SIZE is answered with 552, and not sent", async () => {
  const account = await start();
  const octets = Buffer.alloc(2 * 1024 * 1024, "x\r\n");
  const reply = await sender().send(routeTo(account), () => ({ ...outgoing, octets }), patience);
  expect(reply.code).toBe(552);
  expect(account.sent).toEqual([]);
});

test("421 and a server that is gone are failures of the transport, for which another is tried", async () => {
  const account = await start();
  account.reply = () => ({ code: 421, text: "4.3.2 shutting down" });
  const post = sender();
  const send = () => post.send(routeTo(account), () => outgoing, patience);
  await expect(send()).rejects.toMatchObject({ name: "TransportError" });
  const nobody = { at: "127.0.0.1:1", implicitTls: false };
  await expect(post.send(nobody, () => outgoing, patience)).rejects.toMatchObject({
    name: "TransportError",
  });
});

test("a mail is made anew for each try", async () => {
  const account = await start();
  const dead = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => dead.listen(0, "127.0.0.1", resolve));
  ends.push(() => dead.close());
  const { port } = dead.address() as { port: number };
  const servers = new Servers({
    endpoints: [`127.0.0.1:${port}`, account.smtp].map((smtp) => ({ smtp, pop3: account.pop3 })),
    nowMs: Date.now,
    onFailover: () => undefined,
    onStatus: () => undefined,
    signal,
  });
  const post = new Post({ servers, tls: "auto", nowMs: Date.now, signal });
  ends.push(() => post.close());
  let made = 0;
  const make = () => ({ ...outgoing, octets: Buffer.from(`Subject: ${++made}\r\n\r\n`) });
  expect(await post.toRing(make)).toMatchObject({ code: 250 });
  expect(await post.toRing(make)).toMatchObject({ code: 250 });
  expect(new Set(account.sent.map(({ octets }) => octets.toString())).size).toBe(2);
});

test.each([
  ["a password", { user: "alice", password: "secret" }],
  ["a token", { user: "alice", token: "a-token" }],
])("a maildrop is opened by %s; deletions are done at QUIT", async (_, credentials) => {
  const account = await start();
  account.maildrop.set("u1", mail).set("u2", mail);
  const session = { at: account, tls: "auto", login: credentials, patience, signal } as const;
  const fetched = await withMaildrop(session, async (client) => {
    const mails = await client.retrMany([1, 2]);
    await client.deleMany([2]);
    expect(account.maildrop.size).toBe(2);
    return mails;
  });
  expect(fetched).toEqual([mail, mail]);
  expect([...account.maildrop.keys()]).toEqual(["u1"]);
});

test.each([
  ["a password", { user: "alice", password: "wrong" }],
  ["a token", { user: "alice", token: "another" }],
])("%s that is wrong is denied, at once", async (_, credentials) => {
  const { pop3 } = await start();
  const session = { at: { pop3 }, tls: "auto", login: credentials, patience, signal } as const;
  await expect(withMaildrop(session, async () => undefined)).rejects.toMatchObject({
    code: "denied",
    retryable: false,
  });
});

test("TLS from the first octet, with the certificate checked", async () => {
  const { pop3 } = await start({ tls: contextsOf(certificate), implicitTls: true });
  const at = { pop3, pop3s: pop3 };
  const look = (tls: Parameters<typeof tlsFor>[0]) =>
    withMaildrop({ at, tls, login, patience, signal }, (client) => client.stat());
  expect(await look({ ca: certificate.cert })).toEqual({ messages: 0, octets: 0 });
  await expect(look("require")).rejects.toThrow(/certificate/);
  expect(await look({ rejectUnauthorized: false })).toEqual({ messages: 0, octets: 0 });
});

test("STLS where there is no port for TLS; a server without it is not talked to", async () => {
  const { pop3 } = await start({ tls: contextsOf(certificate) });
  const tls = { ca: certificate.cert };
  const session = { at: { pop3 }, tls, login, patience, signal };
  expect(await withMaildrop(session, (client) => client.stat())).toMatchObject({ messages: 0 });
  const bare = await start();
  await expect(
    withMaildrop({ ...session, at: { pop3: bare.pop3 } }, (client) => client.stat()),
  ).rejects.toMatchObject({ name: "TransportError" });
});

test("TLS away from this machine always, within it when asked for", () => {
  expect(tlsFor("auto", "127.0.0.1")).toBeUndefined();
  expect(tlsFor("auto", "localhost")).toBeUndefined();
  expect(tlsFor("auto", "mail.a.test")).toEqual({ servername: "mail.a.test" });
  expect(tlsFor("auto", "10.0.0.1")).toEqual({});
  expect(tlsFor("require", "127.0.0.1")).toEqual({});
});

test("a maildrop in use is waited for; sessions of one client queue up", async () => {
  const account = await start();
  const servers = new Servers({
    endpoints: [account],
    nowMs: Date.now,
    onFailover: () => undefined,
    onStatus: () => undefined,
    signal,
  });
  const post = new Post({
    servers,
    tls: "auto",
    nowMs: Date.now,
    signal,
    elsewhere: { address: "alice", smtp: account.smtp, pop3: account.pop3, password: "secret" },
  });
  account.inUse = 3;
  let open = 0;
  const look = () =>
    post.open("alice", "data", { password: "unused" }, async (client) => {
      open += 1;
      expect(open).toBe(1);
      await client.stat();
      open -= 1;
    });
  await Promise.all([look(), look(), look()]);
  expect(account.inUse).toBe(0);
});
