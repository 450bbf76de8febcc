/** Ways into a ring, and members that lie about theirs. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createAdminCaller, type Enrollment } from "../rpc/index.js";
import { quietLog, startServer } from "../rpc/testing.js";
import { foundRing, type JoinToken, readCa, type RingCredentials } from "../secrets/index.js";
import { formatJoinToken, fingerprintOf, makeJoinToken } from "../secrets/index.js";
import { folderForTests } from "../secrets/testing.js";
import type { Address } from "../shared/ids.js";
import { caForJoining, credentialsFor, type JoinOptions } from "./enrollment.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const top = folderForTests();
const uuid = "0fd7de1c-8a9b-4c5d-9e0f-112233445566";

async function ring(name: string) {
  const folder = join(top, name);
  const credentials = await foundRing(folder, uuid);
  const ca = await readCa(folder);
  if (ca === undefined) throw new Error("no CA");
  return { folder, credentials, ca };
}

const ours = await ring("ours");
const theirs = await ring("theirs");

interface Lies {
  readonly credentials?: RingCredentials;
  readonly enrollment?: Partial<Enrollment>;
}

/** A member of our ring, but for what it lies about. Notes what is told to it. */
async function member(lies: Lies = {}) {
  const told: string[] = [];
  const redeem = async (secret: Buffer) => {
    told.push(`secret ${secret.toString("hex")}`);
    return { caKeyPem: ours.ca.keyPem };
  };
  const own = { caPem: ours.ca.certPem, secretsFolder: ours.folder, redeem };
  const { addr, server } = await startServer({
    ...{ credentials: lies.credentials ?? ours.credentials, log: quietLog },
    enrollment: { ...own, ...lies.enrollment },
    onAdmin: async (method) => told.push(method),
  });
  cleanups.push(() => server.stop(0));
  return { addr, told };
}

function join_(addr: Address, more: Partial<JoinOptions> = {}) {
  let nowMs = 0;
  return caForJoining({
    ...{ entries: [addr], uuid, giveUpMs: 1_000, nowMs: () => (nowMs += 500) },
    pause: async () => undefined,
    ...more,
  });
}

describe("on one machine", () => {
  test("who may read the files is in, without asking", async () => {
    const { addr, told } = await member();
    expect(await join_(addr)).toEqual(ours.ca);
    expect(await credentialsFor(addr)).toEqual(ours.credentials);
    expect(told).toEqual([]);
  });

  test("who may not read them hears which file it is", async () => {
    const { addr } = await member();
    const path = join(ours.folder, "ca.crt");
    chmodSync(path, 0o644);
    try {
      await expect(join_(addr)).rejects.toThrow(`chmod 600 ${path}`);
      const refused = { name: "AdminError", code: "refused" };
      await expect(credentialsFor(addr)).rejects.toMatchObject(refused);
    } finally {
      chmodSync(path, 0o600);
    }
  });

  test("a member that names the secrets of another ring lets nobody in", async () => {
    const { addr, told } = await member({ enrollment: { secretsFolder: theirs.folder } });
    await expect(join_(addr)).rejects.toThrow(`is not of the ring whose secrets are in`);
    const admin = createAdminCaller({ credentials: (at) => credentialsFor(at) });
    const args = { name: "alice", password: "secret" };
    await expect(admin(addr, "userAdd", args)).rejects.toThrow("is not of this ring");
    expect(told).toEqual([]);
  });

  test("one that has only read about our ring hears no command", async () => {
    // It tells the truth about our CA and our secrets, and has a certificate of neither.
    const { addr, told } = await member({ credentials: theirs.credentials });
    const admin = createAdminCaller({ credentials: (at) => credentialsFor(at) });
    const args = { name: "alice", password: "secret" };
    await expect(admin(addr, "userAdd", args)).rejects.toThrow("is not of this ring");
    expect(told).toEqual([]);
  });

  test("one without secrets, one that is not there: a clear line", async () => {
    const { addr } = await member({ enrollment: { secretsFolder: join(top, "nothing") } });
    await expect(join_(addr)).rejects.toThrow("has no ca.crt and ca.key");
    await expect(credentialsFor(addr)).rejects.toThrow("has no member.crt");
    const nowhere = "127.0.0.1:1" as Address;
    await expect(join_(nowhere)).rejects.toThrow(/127.0.0.1:1.*start a member there/);
    await expect(credentialsFor(nowhere)).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("from another machine", () => {
  /** Answers as it does to callers that are not of its machine. */
  const far = { secretsFolder: "" };
  const tokenFor = (caPem: string): { token: string; secret: Buffer } => {
    const token: JoinToken = makeJoinToken(fingerprintOf(caPem) ?? Buffer.alloc(32));
    return { token: formatJoinToken(token), secret: token.secret };
  };

  test("a token lets in; with neither token nor credentials nobody gets in", async () => {
    const { addr, told } = await member({ enrollment: far });
    await expect(join_(addr)).rejects.toThrow("run chord token there");
    await expect(credentialsFor(addr)).rejects.toThrow("--credentials");
    expect(told).toEqual([]);
    const { token, secret } = tokenFor(ours.ca.certPem);
    expect(await join_(addr, { token })).toEqual(ours.ca);
    expect(told).toEqual([`secret ${secret.toString("hex")}`]);
  });

  test("the secret is told to nobody but a member of the pinned CA", async () => {
    const { token } = tokenFor(theirs.ca.certPem);
    const honest = await member({ enrollment: far });
    await expect(join_(honest.addr, { token })).rejects.toThrow("not of the ring that the token");
    // Shows the right CA, and has no certificate of it.
    const liar = await member({ enrollment: { ...far, caPem: theirs.ca.certPem } });
    await expect(join_(liar.addr, { token })).rejects.toThrow(
      "its certificate is not of this ring",
    );
    expect([...honest.told, ...liar.told]).toEqual([]);
  });

  test("credentials that were brought along let in, of this ring only", async () => {
    const { addr } = await member({ enrollment: far });
    expect(await join_(addr, { credentials: ours.folder })).toEqual(ours.ca);
    const wrong = join_(addr, { credentials: theirs.folder });
    await expect(wrong).rejects.toThrow("is not of the ring whose secrets are in");
    expect(await credentialsFor(addr, ours.folder)).toEqual(ours.credentials);
  });

  test("what an earlier try has got is enough: the token is not used again", async () => {
    const { addr, told } = await member({ enrollment: far });
    const { token } = tokenFor(ours.ca.certPem);
    expect(await join_(addr, { token, known: ours.ca })).toEqual(ours.ca);
    expect(told).toEqual([]);
    // That of another ring is not.
    expect(await join_(addr, { token, known: theirs.ca })).toEqual(ours.ca);
    expect(told).toHaveLength(1);
  });
});
