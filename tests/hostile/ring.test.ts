/** The ring port of running members, and who may get behind it. */
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { Client, type ServiceError, status } from "@grpc/grpc-js";
import { beforeAll, describe, expect, test } from "vitest";
import { channelCredentials, serverName, type Trust } from "../../src/rpc/credentials.js";
import { encodeHello, type ReceivedFrame } from "../../src/rpc/frame.js";
import { exchangeMethod } from "../../src/rpc/schema.js";
import { makeClusterCa, makeMemberCertificate } from "../../src/secrets/certificates.js";
import {
  parseJoinToken,
  readCa,
  readCredentials,
  type RingCredentials,
  secretsFolder,
} from "../../src/secrets/index.js";
import { chord, chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { Network } from "../support/netns.js";
import type { Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { within } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
let target: Member;

beforeAll(async () => {
  ring = await scope.start({ members: [2, 5], bits: 3 });
  target = ring.member(0);
});

/** What must not change when somebody was refused. */
async function state(of: Ring = ring): Promise<unknown> {
  const { rosterEpoch, members } = await of.status();
  return { rosterEpoch, members: members.map(({ id, uuid, state: is }) => ({ id, uuid, is })) };
}

/** Starts a member that is to fail; returns its one line. */
async function refused(member: Member, extra: readonly string[] = []): Promise<string> {
  member.start(extra);
  const exit = await within(member.exited, 60_000, "the refused member to end").finally(
    async () => {
      if (member.running) await member.kill("SIGKILL");
    },
  );
  expect(exit.code, member.tail(20)).toBeGreaterThan(0);
  const lines = member.stderr.split("\n").filter((line) => line !== "");
  expect(lines, member.tail(20)).toHaveLength(1);
  return lines[0] ?? "";
}

async function ownCredentials(of: Member): Promise<RingCredentials> {
  const own = await readCredentials(secretsFolder(of.dataDir));
  if (own === undefined) throw new Error("the member has no credentials");
  return own;
}

/** As the members do: opens a stream and greets. Answers who greeted back, or the refusal. */
function greet(trust: Trust, hello: { uuid: string; version?: number }): Promise<string> {
  const options = { "grpc.ssl_target_name_override": serverName };
  const client = new Client(target.addr, channelCredentials(trust), options);
  const { path, requestSerialize, responseDeserialize } = exchangeMethod;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  const parameters = { ring: "bits=3 replicas=2 domain=ring.test", addr: "192.0.2.1:5000" };
  stream.write(encodeHello({ version: 1, ...parameters, ...hello }, 0));
  const heard = new Promise<string>((resolve) => {
    stream.on("data", (frame: ReceivedFrame) => resolve(`greeted by ${frame.hello?.uuid}`));
    stream.on("error", ({ code, details }: ServiceError) => resolve(`${status[code]} ${details}`));
  });
  return within(heard, 30_000, "an answer").finally(() => {
    stream.cancel();
    client.close();
  });
}

const memberTrust = (credentials: RingCredentials): Trust => ({ kind: "member", credentials });

describe("R1: ring RPC without the right credentials is refused, and nothing changes", () => {
  test("none", async () => {
    const before = await state();
    const [, other] = (await ring.status()).members;
    expect(await greet({ kind: "anyone" }, { uuid: other?.uuid ?? "" })).toMatch(
      /^UNAUTHENTICATED/,
    );
    expect(await state()).toEqual(before);
  });

  test("without TLS at all", async () => {
    const socket = await rawSocket();
    socket.on("error", () => undefined).resume();
    const closed = once(socket, "close");
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await within(closed, 30_000, "the connection to be closed");
  });

  test("of another CA", async () => {
    const before = await state();
    const uuid = randomUUID();
    const foreign = await makeMemberCertificate(await makeClusterCa(), uuid);
    const { caPem } = await ownCredentials(target);
    const outcome = await greet(memberTrust({ ...foreign, caPem }), { uuid });
    expect(outcome).toMatch(/^UNAUTHENTICATED/);
    expect(await state()).toEqual(before);
  });

  test("of this ring, with the hello of another member", async () => {
    const before = await state();
    const [own, other] = (await ring.status()).members;
    const credentials = await ownCredentials(target);
    const outcome = await greet(memberTrust(credentials), { uuid: other?.uuid ?? "" });
    expect(outcome).toMatch(/^FAILED_PRECONDITION refused: .*its certificate is another member's/);
    await target.says(/stream refused/);
    expect(await state()).toEqual(before);
    // With the right one the same words are understood; here they come from a copy of the data.
    const copy = await greet(memberTrust(credentials), { uuid: own?.uuid ?? "" });
    expect(copy).toMatch(/one data directory is a copy of the other/);
  });
});

test("R5: another protocol version is refused, with the reason", async () => {
  const uuid = randomUUID();
  const ca = await readCa(secretsFolder(target.dataDir));
  if (ca === undefined) throw new Error("no CA");
  const own = { ...(await makeMemberCertificate(ca, uuid)), caPem: ca.certPem };
  expect(await greet(memberTrust(own), { uuid, version: 99 })).toMatch(
    /^FAILED_PRECONDITION refused: .*version 99, .* version 1$/,
  );
});

function residentOctets(of: Member): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${of.pid}/status`, "utf8")) ?? [];
  return Number(kib) * 1024;
}

describe("R3: rubbish at the ring port: closed, memory flat", () => {
  const [mib, most] = [1024 * 1024, 96];
  const floods: [string, () => Promise<Socket>][] = [
    ["random bytes", rawSocket],
    ["random bytes within TLS", tlsSocket],
  ];

  test.each(floods)("%s", async (_name, open) => {
    const before = residentOctets(target);
    for (let round = 0; round < 20; round += 1) {
      const socket = await open();
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.on("error", () => undefined).resume();
      for (let sent = 0; sent < 8 && !socket.destroyed; sent += 1) socket.write(randomBytes(mib));
      await within(closed, 60_000, "the connection to be closed");
    }
    expect(residentOctets(target) - before).toBeLessThan(most * mib);
    expect((await ring.status()).members).toHaveLength(2);
  });

  test("a frame of 2 GB, by a stranger and by a member", async () => {
    const before = residentOctets(target);
    const { caPem: ca, certPem: cert, keyPem: key } = await ownCredentials(target);
    const { path } = exchangeMethod;
    for (const proof of [{}, { cert, key }]) {
      const session = connectHttp2(`https://${target.addr}`, {
        ...{ ca, ...proof, servername: serverName, checkServerIdentity: () => undefined },
      });
      const headers = { "content-type": "application/grpc", te: "trailers" };
      const stream = session.request({ ":method": "POST", ":path": path, ...headers });
      stream.on("error", () => undefined);
      const answered = new Promise<string>((resolve) => {
        const look = (fields: Record<string, unknown>) => {
          if ("grpc-status" in fields) resolve(status[Number(fields["grpc-status"])] ?? "");
        };
        stream.on("response", look).on("trailers", look);
      });
      stream.write(Buffer.concat([Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]), randomBytes(mib)]));
      const expected = "cert" in proof ? "RESOURCE_EXHAUSTED" : "UNAUTHENTICATED";
      expect(await within(answered, 30_000, "an answer")).toBe(expected);
      session.destroy();
    }
    expect(residentOctets(target) - before).toBeLessThan(most * mib);
    expect((await ring.status()).members).toHaveLength(2);
  });
});

async function rawSocket(): Promise<Socket> {
  const [host, port] = target.addr.split(":");
  const socket = connect(Number(port), host);
  await once(socket, "connect");
  return socket;
}

async function tlsSocket(): Promise<Socket> {
  const [host, port] = target.addr.split(":");
  const options = { rejectUnauthorized: false, ALPNProtocols: ["h2"], servername: serverName };
  const socket = connectTls({ host, port: Number(port), ...options });
  await once(socket, "secureConnect");
  return socket;
}

describe("secrets that others may read", () => {
  test("K: a member does not start with them, and says which file it is", async () => {
    const before = await state();
    const member = await ring.make({ id: 1 });
    mkdirSync(member.dataDir);
    cpSync(secretsFolder(target.dataDir), secretsFolder(member.dataDir), { recursive: true });
    const open = [
      ["ca.key", 0o640, "its group"],
      ["mail.key", 0o604, "others"],
    ] as const;
    for (const [name, mode, who] of open) {
      const path = join(secretsFolder(member.dataDir), name);
      chmodSync(path, mode);
      const line = await refused(member);
      expect(line).toContain(`${path} is open to ${who}`);
      expect(line).toContain(`chmod 600 ${path}`);
      chmodSync(path, 0o600);
    }
    expect(await state()).toEqual(before);
  });

  test("K: --tls-key", async () => {
    const member = await ring.make({ id: 1, dataDir: join(ring.folder, "data-tls-key") });
    const secrets = secretsFolder(target.dataDir);
    const [cert, key] = [join(ring.folder, "own.crt"), join(ring.folder, "own.key")];
    cpSync(join(secrets, "mail.crt"), cert);
    cpSync(join(secrets, "mail.key"), key);
    chmodSync(key, 0o644);
    const line = await refused(member, ["--tls-cert", cert, "--tls-key", key]);
    expect(line).toContain(`${key} is open to others`);
  });

  test("K: commands do not use them", async () => {
    const copy = join(ring.folder, "copied-secrets");
    cpSync(secretsFolder(target.dataDir), copy, { recursive: true });
    chmodSync(join(copy, "member.key"), 0o644);
    const result = await chord(["status", "--entry", target.addr, "--credentials", copy]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`chmod 600 ${join(copy, "member.key")}`);
  });

  test("a member whose secrets are gone does not become another one", async () => {
    const before = await state();
    const member = ring.member(1);
    await member.kill("SIGTERM");
    const [secrets, kept] = [secretsFolder(member.dataDir), join(ring.folder, "kept")];
    cpSync(secrets, kept, { recursive: true });
    rmSync(secrets, { recursive: true });
    expect(await refused(member)).toContain(`${secrets} has no certificate`);
    cpSync(kept, secrets, { recursive: true });
    await member.restart();
    await ring.settled();
    expect(await state()).toEqual(before);
  });
});

const tokenOf = async (entry: Member, ...more: string[]): Promise<string> =>
  (await chordOk(["token", "--entry", entry.addr, ...more])).trim();

describe("join tokens", () => {
  test("one that expired, one of another ring, one that is none: refused, and not told", async () => {
    const before = await state();
    const member = await ring.make({ id: 1, dataDir: join(ring.folder, "data-token") });
    const expired = await tokenOf(target, "--ttl", "1s");
    const other = await scope.start({ members: [4], bits: 3 });
    const foreign = await tokenOf(other.member(0));
    const own = await tokenOf(target);
    const { secret } = parseJoinToken(own) ?? { secret: Buffer.alloc(0) };
    const { caFingerprint } = parseJoinToken(foreign) ?? { caFingerprint: Buffer.alloc(0) };
    // The right secret with the wrong pin: this member is not whom the token names.
    const pinned = `rp1_${Buffer.concat([caFingerprint, secret]).toString("base64url")}`;
    const cases: [string, RegExp][] = [
      [foreign, /is not of the ring that the token is for/],
      [pinned, /is not of the ring that the token is for/],
      [own.slice(0, -1), /is not what chord token printed/],
      ["nonsense", /--token: must be what chord token printed/],
      [expired, /the token expired at/],
    ];
    for (const [token, says] of cases) {
      expect(await refused(member, ["--token", token])).toMatch(says);
      // The test's own note of the command line aside.
      const said = member.tail(100).replace(/--- start: .*/g, "");
      expect(said).not.toContain(token);
    }
    expect(existsSync(join(secretsFolder(member.dataDir), "ca.key"))).toBe(false);
    expect(await state()).toEqual(before);
    // The secret was not sent to a member that the token did not name: it is still good.
    const good = await ring.make({ id: 1, dataDir: join(ring.folder, "data-good") });
    good.start(["--token", own]);
    await good.ready();
    ring.members.push(good);
    await ring.settled();
    const second = await ring.make({ id: 7, dataDir: join(ring.folder, "data-second") });
    // Through another member than the one that made it, and than the one that redeemed it.
    const entries = ["--entry", good.addr, "--token", own];
    expect(await refused(second, entries)).toMatch(/the token was used already/);
  });
});

test("from another machine: in with a token only, commands with credentials only", async (context) => {
  const network = await Network.create(context, 2);
  const far = await scope.start({ members: 1, place: (index) => network.place(index) });
  const first = far.member(0);
  const place = { ...network.place(1), id: 20_000 };
  // Without what Ring.make gives to members that share a disk.
  const joiner = await far.make({ ...place, elsewhere: true });
  const line = await refused(joiner);
  expect(line).toMatch(/is on another machine: run chord token there/);

  const ask = (...more: string[]) => chord(["status", "--json", "--entry", first.addr, ...more]);
  const alone = await ask();
  expect(alone.code).toBe(1);
  expect(alone.stderr).toMatch(/is on another machine: .*--credentials/);
  // A copy of what a command needs: without the CA's key.
  const copy = join(far.folder, "copy");
  cpSync(secretsFolder(first.dataDir), copy, { recursive: true });
  for (const name of ["ca.key", "mail.key", "mail.crt"]) rmSync(join(copy, name));
  const given = await ask("--credentials", copy);
  expect(given.code, given.stderr).toBe(0);

  const made = await chord(["token", "--entry", first.addr, "--credentials", copy]);
  joiner.start(["--token", made.stdout.toString().trim()]);
  await joiner.ready();
  far.members.push(joiner);
  await far.settled();
  // It has what it needs: the token is not asked for again.
  await joiner.kill("SIGTERM");
  await joiner.restart();
  await far.settled();
});
