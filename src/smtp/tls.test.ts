/** TLS on the SMTP listeners: RFC 3207, RFC 8314. */
import net from "node:net";
import tls from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SmtpServerOptions } from "./server.js";
import { RawClient, start, type Running } from "./testing.js";
import { FakeTls } from "./testing-auth.js";

let shared: FakeTls;
let running: Running;
const open: RawClient[] = [];

beforeAll(() => {
  shared = new FakeTls();
});

async function setUp(options: Partial<SmtpServerOptions> = {}): Promise<RawClient> {
  running = await start({ tls: shared, ...options });
  return keep(RawClient.greeted(running.port));
}

async function keep(client: Promise<RawClient>): Promise<RawClient> {
  const each = await client;
  open.push(each);
  return each;
}

afterEach(async () => {
  for (const each of open.splice(0)) each.socket.destroy();
  await running.server.close();
});

describe("STARTTLS", () => {
  let client: RawClient;

  beforeEach(async () => {
    client = await setUp();
  });

  test("is offered before TLS, and not behind it", async () => {
    expect(await client.ask("EHLO client.test")).toContain("250-STARTTLS\r\n");
    expect(await client.ask("STARTTLS")).toBe("220 2.0.0 ready to start TLS");
    const secure = await keep(client.secure());
    expect(await secure.ask("EHLO client.test")).not.toContain("STARTTLS");
    expect(await secure.ask("STARTTLS")).toMatch(/^503 5\.5\.1 /);
  });

  test("has no argument", async () => {
    expect(await client.ask("STARTTLS now")).toMatch(/^501 5\.5\.4 /);
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });

  test("a mail goes through; the trace has protocol, version and cipher", async () => {
    const secure = await keep(RawClient.startedTls(running.port));
    await secure.toData();
    expect(await secure.ask("Subject: x\r\n\r\n.dots\r\n..\r\n.")).toMatch(/^250 2\.0\.0 /);
    const [kept] = running.receiver.kept;
    expect(kept?.trace.replaceAll("\r\n\t", " ")).toMatch(
      / with ESMTPS \(TLSv1\.3\) id [0-9a-f]+ for <alice@ring\.test> tls TLS_AES_\S+; \w{3}, /,
    );
    expect(kept?.body.toString()).toBe("Subject: x\r\n\r\ndots\r\n.\r\n");
  });

  test("a mail of megabytes is spooled and whole", async () => {
    const secure = await keep(RawClient.startedTls(running.port));
    await secure.toData();
    const text = `Subject: x\r\n\r\n${`${"x".repeat(98)}\r\n`.repeat(50_000)}`;
    expect(await secure.ask(`${text}.`)).toMatch(/^250 2\.0\.0 /);
    expect(running.receiver.kept[0]?.body.equals(Buffer.from(text))).toBe(true);
  });

  test("what was said before TLS is forgotten (RFC 3207 §4.2)", async () => {
    await client.ask("EHLO client.test");
    await client.ask("MAIL FROM:<bob@else.test>");
    await client.ask("RCPT TO:<alice@ring.test>");
    await client.ask("STARTTLS");
    const secure = await keep(client.secure());
    expect(await secure.ask("DATA")).toMatch(/^503 5\.5\.1 /);
    expect(await secure.ask("MAIL FROM:<bob@else.test>")).toMatch(/^503 5\.5\.1 /);
    await secure.ask("EHLO client.test");
    expect(await secure.ask("DATA")).toMatch(/^503 5\.5\.1 send RCPT first/);
  });

  test("a mail before it is confirmed by it, one behind it by the next command", async () => {
    await client.toData();
    await client.ask("one\r\n.");
    await client.ask("STARTTLS");
    expect(running.receiver.outcomes).toMatchObject([{ outcome: "confirmed" }]);
    const secure = await keep(client.secure());
    await secure.toData();
    await secure.ask("two\r\n.");
    expect(running.receiver.outcomes).toHaveLength(1);
    await secure.ask("NOOP");
    expect(running.receiver.outcomes[1]).toMatchObject({ outcome: "confirmed" });
  });

  test("a command pipelined behind the data, within TLS, proves nothing", async () => {
    const secure = await keep(RawClient.startedTls(running.port));
    await secure.toData();
    let release: () => void = () => undefined;
    running.receiver.gate = new Promise((resolve) => {
      release = resolve;
    });
    const began = new Promise<void>((resolve) => {
      running.receiver.onDeliver = resolve;
    });
    secure.write("hi\r\n.\r\nNOOP\r\n");
    await began;
    release();
    await secure.replies(2);
    expect(running.receiver.outcomes).toEqual([]);
    secure.socket.destroy();
    client.socket.destroy();
    await running.receiver.settledCount(1);
  });

  test("a client that ends its side of TLS still reads its reply, and has read it", async () => {
    const secure = await keep(RawClient.startedTls(running.port));
    await secure.toData();
    expect(await secure.ask("hi\r\n.")).toMatch(/^250 /);
    secure.socket.end();
    expect(await running.receiver.settledCount(1)).toEqual(["confirmed"]);
  });
});

describe("S26: what is pipelined behind STARTTLS was said by nobody", () => {
  const injected =
    "MAIL FROM:<evil@else.test>\r\nRCPT TO:<alice@ring.test>\r\nDATA\r\nevil\r\n.\r\n";

  test.each([
    ["one command", "NOOP\r\n"],
    ["a whole mail", `EHLO evil.test\r\n${injected}`],
    ["half a command", "NO"],
    ["more commands than run in one turn", "NOOP\r\n".repeat(1_000)],
  ])("%s, in the same segment: dropped, and TLS is clean", async (_what, text) => {
    const client = await setUp();
    await client.ask("EHLO client.test");
    expect(await client.ask(`STARTTLS\r\n${text}`.replace(/\r\n$/, ""))).toMatch(/^220 /);
    const secure = await keep(client.secure());
    // Nothing of it was run: neither its hello, nor its mail; and there is no reply to read.
    expect(await secure.ask("MAIL FROM:<bob@else.test>")).toMatch(/^503 5\.5\.1 /);
    expect(await secure.ask("EHLO client.test")).toMatch(/^250-mx\.ring\.test/);
    expect(running.receiver.resolved).toBe(0);
    expect(running.receiver.deliveries).toEqual([]);
  });

  /** Has STARTTLS, and what stands behind it, wait for a recipient that takes long. */
  async function waiting() {
    const client = await setUp();
    let release: () => void = () => undefined;
    const resolve = running.receiver.resolve.bind(running.receiver);
    const asked = new Promise<void>((tell) => {
      running.receiver.resolve = async (address) => {
        tell();
        await new Promise<void>((go) => {
          release = go;
        });
        return resolve(address);
      };
    });
    await client.ask("EHLO client.test");
    await client.ask("MAIL FROM:<bob@else.test>");
    client.write("RCPT TO:<alice@ring.test>\r\nSTARTTLS\r\nNOOP\r\n");
    await asked;
    const other = await keep(RawClient.greeted(running.port));
    return {
      client,
      other,
      release: () => release(),
      /** Round trips of another connection: by then what came before has been read. */
      read: async () => {
        for (let i = 0; i < 20; i++) await other.ask("NOOP");
      },
    };
  }

  test.each([
    ["that the parser holds", ["NOOP\r\n"]],
    ["that the socket holds, since the parser has enough", ["x".repeat(20_000), "y".repeat(5_000)]],
  ])("in later segments %s: dropped, and TLS is clean", async (_what, segments) => {
    const { client, release, read } = await waiting();
    for (const segment of segments) {
      client.write(segment);
      await read();
    }
    release();
    expect(await client.reply()).toMatch(/^250 2\.1\.5 /);
    expect(await client.reply()).toMatch(/^220 /);
    const secure = await keep(client.secure());
    expect(await secure.ask("MAIL FROM:<a@b.test>")).toMatch(/^503 /);
    expect(await secure.ask("EHLO client.test")).toMatch(/^250-mx\.ring\.test/);
    expect(running.receiver.resolved).toBe(1);
  });

  test("more than is read at once is no TLS record: it never runs, and nobody else notices", async () => {
    const { client, other, release, read } = await waiting();
    for (let i = 0; i < 50; i++) client.write("NOOP\r\n".repeat(20_000));
    await read();
    release();
    expect(await client.reply()).toMatch(/^250 2\.1\.5 /);
    expect(await client.reply()).toMatch(/^220 /);
    expect(await client.reply()).toBe("");
    expect(running.receiver.resolved).toBe(1);
    expect(await other.ask("NOOP")).toMatch(/^250 /);
  });
});

describe("a handshake that fails ends the connection, and nothing else", () => {
  test.each([
    ["commands in clear", (socket: net.Socket) => socket.write("EHLO x\r\nMAIL FROM:<>\r\n")],
    ["random octets", (socket: net.Socket) => socket.write(Buffer.alloc(5_000, 0xa7))],
    ["half a ClientHello and the end", (socket: net.Socket) => socket.end("\x16\x03\x01\x02")],
    ["the end", (socket: net.Socket) => socket.end()],
    ["a reset", (socket: net.Socket) => socket.resetAndDestroy()],
  ])("%s", async (_what, break_) => {
    const client = await setUp();
    const other = await keep(RawClient.greeted(running.port));
    await client.ask("EHLO client.test");
    await client.ask("STARTTLS");
    break_(client.socket);
    await client.closed();
    expect(await other.ask("NOOP")).toMatch(/^250 /);
    const again = await keep(RawClient.startedTls(running.port));
    expect(await again.ask("NOOP")).toMatch(/^250 /);
  });

  test("a reset in the middle of a mail within TLS: nothing is delivered, no file stays", async () => {
    await setUp({ limits: { inlineBodyOctetsMax: 1_000 } });
    const plain = await RawClient.greeted(running.port);
    await plain.ask("STARTTLS");
    const secure = await keep(plain.secure());
    await secure.toData();
    secure.write(`${"x".repeat(98)}\r\n`.repeat(200));
    await expect.poll(() => running.receiver.spooled()).toHaveLength(1);
    plain.socket.resetAndDestroy();
    await expect.poll(() => running.receiver.spooled()).toEqual([]);
    expect(running.receiver.deliveries).toEqual([]);
  });

  test("TLS 1.1 is refused even where the context would allow it", async () => {
    const old = { minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
    await setUp({ tls: new FakeTls(old) });
    await expect(
      RawClient.startedTls(running.port, { ...old, maxVersion: "TLSv1.1" }).then((secure) =>
        secure.ask("NOOP").then((reply) => (reply === "" ? Promise.reject(new Error()) : reply)),
      ),
    ).rejects.toThrow();
    const again = await keep(RawClient.startedTls(running.port, { maxVersion: "TLSv1.2" }));
    expect(await again.ask("NOOP")).toMatch(/^250 /);
  });
});

test("the certificate is the one of the moment; live sessions keep theirs", async () => {
  const changing = new FakeTls();
  await setUp({ tls: changing });
  const nameOf = (client: RawClient) =>
    client.socket instanceof tls.TLSSocket
      ? client.socket.getPeerCertificate().subject["CN"]
      : undefined;
  const before = await keep(RawClient.startedTls(running.port));
  changing.change("new.ring.test");
  const after = await keep(RawClient.startedTls(running.port));
  expect([nameOf(before), nameOf(after)]).toEqual(["mx.ring.test", "new.ring.test"]);
  expect(await before.ask("NOOP")).toMatch(/^250 /);
});

describe("TLS from the first octet", () => {
  async function setUpImplicit(limits: SmtpServerOptions["limits"] = {}) {
    running = await start({ tls: shared, implicitTls: true, limits });
    return running.port;
  }

  test("greets within TLS, and offers no STARTTLS", async () => {
    const client = await keep(RawClient.greetedSecurely(await setUpImplicit()));
    expect(await client.ask("EHLO client.test")).not.toContain("STARTTLS");
    await client.toData();
    expect(await client.ask("hi\r\n.")).toMatch(/^250 /);
    expect(running.receiver.kept[0]?.trace).toContain("with ESMTPS (TLSv1.3)");
  });

  test("the certificate is verified by a client that knows it", async () => {
    const trust = { ca: shared.pem.cert, servername: "mx.ring.test", rejectUnauthorized: true };
    const client = await keep(RawClient.greetedSecurely(await setUpImplicit(), trust));
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });

  test("a client that speaks in clear learns nothing", async () => {
    const port = await setUpImplicit();
    const plain = new RawClient(net.connect({ host: "127.0.0.1", port }));
    open.push(plain);
    plain.write("EHLO client.test\r\n");
    await plain.closed();
    expect(running.receiver.resolved).toBe(0);
    const client = await keep(RawClient.greetedSecurely(port));
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });

  test("S31: a handshake that does not end is ended", async () => {
    const port = await setUpImplicit({ handshakeMs: 200, sweepIntervalMs: 5 });
    const silent = new RawClient(net.connect({ host: "127.0.0.1", port }));
    open.push(silent);
    const hello = Buffer.from("16030102000100", "hex");
    let at = 0;
    const timer = setInterval(() => silent.write(hello.subarray(at, ++at)), 20);
    await silent.closed();
    clearInterval(timer);
    expect(await silent.reply()).toBe("");
  });

  test("closing does not wait for a handshake", async () => {
    const port = await setUpImplicit({ closeMs: 60_000 });
    const silent = new RawClient(net.connect({ host: "127.0.0.1", port }));
    open.push(silent);
    silent.write(Buffer.from("160301", "hex"));
    const client = await keep(RawClient.greetedSecurely(port));
    await client.ask("NOOP");
    await running.server.close();
    await silent.closed();
    expect(await client.reply()).toBe("421 4.3.2 server is shutting down");
  });

  test("without a certificate there is no such listener", async () => {
    await setUpImplicit();
    await expect(start({ implicitTls: true })).rejects.toThrow("TLS needs a certificate");
  });
});

test("S31: a STARTTLS handshake that does not end is ended", async () => {
  const client = await setUp({ limits: { handshakeMs: 200, sweepIntervalMs: 5 } });
  await client.ask("STARTTLS");
  await client.closed();
  expect(await client.reply()).toBe("");
});

test("where there is no certificate, STARTTLS is not offered", async () => {
  const client = await setUp({ tls: undefined });
  expect(await client.ask("EHLO client.test")).not.toContain("STARTTLS");
  expect(await client.ask("STARTTLS")).toBe("502 5.5.1 command not implemented");
});
