import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { connect, type ConnectionOptions, TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { TlsContexts } from "../shared/tls.js";
import { makeListenerCertificate, type Pair } from "./certificates.js";
import { ListenerTls, selfSignedPaths } from "./listener-tls.js";
import { folderForTests } from "./testing.js";

const top = folderForTests();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const one = await makeListenerCertificate(["one.test"]);
const two = await makeListenerCertificate(["two.test"]);
const nothing = () => undefined;

function paths(pair: Pair) {
  const name = Math.random().toString(36).slice(2);
  const found = { certPath: join(top, `${name}.crt`), keyPath: join(top, `${name}.key`) };
  writeFileSync(found.certPath, pair.certPem);
  writeFileSync(found.keyPath, pair.keyPem, { mode: 0o600 });
  return found;
}

/** Opened with a timer that never comes: the tests say when to look. */
async function open(files: { certPath: string; keyPath: string }) {
  const warnings: string[] = [];
  const warn = (fields: object) => void warnings.push((fields as { reason: string }).reason);
  const log = { debug: nothing, info: nothing, error: nothing, warn };
  const tls = await ListenerTls.open({ ...files, log, pollMs: 1e8 });
  cleanups.push(() => tls.close());
  return { tls, warnings };
}

/** Echoes, with the newest context for each handshake. */
async function serve(tls: TlsContexts): Promise<number> {
  const server = createServer((plain) => {
    const options = { isServer: true, secureContext: tls.current() };
    const socket = new TLSSocket(plain.on("error", nothing), options);
    socket.on("error", nothing).pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    port,
    host: "127.0.0.1",
    servername: "x.test",
    rejectUnauthorized: false,
    ...options,
  });
  cleanups.push(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

const shown = (socket: TLSSocket): string => socket.getPeerCertificate().subjectaltname ?? "";

async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text);
  const [answer] = (await once(socket, "data")) as [Buffer];
  return answer.toString();
}

test("the next handshake sees the new certificate; a live session goes on with the old one", async () => {
  const files = paths(one);
  const { tls } = await open(files);
  const port = await serve(tls);
  const live = await dial(port);
  expect(shown(live)).toBe("DNS:one.test");
  writeFileSync(files.certPath, two.certPem);
  writeFileSync(files.keyPath, two.keyPem);
  await tls.look();
  expect(shown(await dial(port))).toBe("DNS:two.test");
  expect(await echo(live, "still here")).toBe("still here");
  expect(shown(live)).toBe("DNS:one.test");
});

test("by itself, within its interval, also behind a symbolic link that is moved", async () => {
  const [old, renewed] = [paths(one), paths(two)];
  const files = { certPath: join(top, "live.crt"), keyPath: join(top, "live.key") };
  symlinkSync(old.certPath, files.certPath);
  symlinkSync(old.keyPath, files.keyPath);
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const tls = await ListenerTls.open({ ...files, log, pollMs: 20 });
  cleanups.push(() => tls.close());
  const before = tls.current();
  symlinkSync(renewed.certPath, `${files.certPath}.new`);
  symlinkSync(renewed.keyPath, `${files.keyPath}.new`);
  renameSync(`${files.certPath}.new`, files.certPath);
  renameSync(`${files.keyPath}.new`, files.keyPath);
  await expect.poll(() => tls.current() !== before, { timeout: 30_000 }).toBe(true);
  expect(shown(await dial(await serve(tls)))).toBe("DNS:two.test");
});

describe("what can't be used leaves the old one in place, with a warning", () => {
  const spoilt: [string, (files: { certPath: string; keyPath: string }) => void, RegExp][] = [
    [
      "a new certificate without its key",
      (f) => writeFileSync(f.certPath, two.certPem),
      /is not the private key/,
    ],
    [
      "half a certificate",
      (f) => writeFileSync(f.certPath, two.certPem.slice(0, 200)),
      /no certificate/,
    ],
    ["an empty key", (f) => writeFileSync(f.keyPath, ""), /is not the private key/],
    ["a key that others may read", (f) => chmodSync(f.keyPath, 0o644), /chmod 600/],
    [
      "a certificate that is gone",
      (f) => renameSync(f.certPath, `${f.certPath}.old`),
      /no such file/,
    ],
  ];
  test.each(spoilt)("%s", async (_name, spoil, reason) => {
    const files = paths(one);
    const { tls, warnings } = await open(files);
    const before = tls.current();
    spoil(files);
    await tls.look();
    // Said once, not every few seconds.
    await tls.look();
    expect(tls.current()).toBe(before);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(reason);
    writeFileSync(files.certPath, two.certPem);
    writeFileSync(files.keyPath, two.keyPem);
    chmodSync(files.keyPath, 0o600);
    await tls.look();
    expect(tls.current()).not.toBe(before);
  });
});

test("at the start it is an error that names the file", async () => {
  const files = paths(one);
  chmodSync(files.keyPath, 0o604);
  await expect(open(files)).rejects.toThrow(`${files.keyPath} is open to others`);
  const mixed = { certPath: files.certPath, keyPath: paths(two).keyPath };
  await expect(open(mixed)).rejects.toThrow(`${mixed.keyPath} is not the private key`);
});

test("older than TLS 1.2 is not spoken", async () => {
  const port = await serve((await open(paths(one))).tls);
  const old = dial(port, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" });
  await expect(old).rejects.toThrow();
  expect((await dial(port, { maxVersion: "TLSv1.2" })).getProtocol()).toBe("TLSv1.2");
});

test("the self-signed one is made once, for all the names", async () => {
  const folder = join(top, "own");
  const made = await selfSignedPaths(folder, ["mail.test", "localhost", "10.0.0.1", "::1"]);
  const { tls } = await open(made);
  const socket = await dial(await serve(tls));
  const cert = new X509Certificate(socket.getPeerCertificate().raw);
  expect(cert.checkHost("mail.test")).toBe("mail.test");
  expect(cert.checkHost("localhost")).toBe("localhost");
  expect(cert.checkIP("10.0.0.1")).toBe("10.0.0.1");
  expect(cert.checkIP("::1")).toBe("::1");
  await selfSignedPaths(folder, ["other.test"]);
  const again = await dial(await serve((await open(made)).tls));
  expect(new X509Certificate(again.getPeerCertificate().raw).fingerprint256).toBe(
    cert.fingerprint256,
  );
});
