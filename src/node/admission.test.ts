import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Registers, Update } from "../replication/registers.js";
import { foundRing, parseJoinToken, readCa, secretHash } from "../secrets/index.js";
import { folderForTests } from "../secrets/testing.js";
import { Admission } from "./admission.js";

const secretsFolder = join(folderForTests(), "secrets");
const uuid = "0fd7de1c-8a9b-4c5d-9e0f-112233445566";
const by = { uuid, from: "192.0.2.7" };
const lines: string[] = [];
const note = (fields: object, text: string) => void lines.push(`${text} ${JSON.stringify(fields)}`);
const log = { debug: note, info: note, warn: note, error: note };

let caPem = "";
beforeAll(async () => {
  ({ caPem } = await foundRing(secretsFolder, uuid));
});

/** Registers of which every member sees the same. */
function ring() {
  const values = new Map<string, unknown>();
  const state = { nowMs: 1_000_000, isSilent: false };
  const registers: Pick<Registers, "read" | "change"> = {
    async read(name) {
      if (state.isSilent) return { kind: "undecided" };
      if (!values.has(name)) return { kind: "absent" };
      return { kind: "value", value: values.get(name), version: { counter: 1, proposer: "" } };
    },
    async change<T>(name: string, update: (value: unknown) => Update<T>) {
      if (state.isSilent) return { kind: "undecided" };
      const { set, result } = update(values.get(name) ?? null);
      // As the real ones: a refusal is decided too, and leaves the register behind.
      values.set(name, set ? set.value : (values.get(name) ?? null));
      return { kind: set ? "changed" : "refused", value: values.get(name), result };
    },
  };
  const clock = { wallMs: () => state.nowMs, monotonicMs: () => 0, sleep: async () => undefined };
  const member = () =>
    new Admission({ credentials: { caPem }, secretsFolder, registers, clock, log });
  return { values, state, member };
}

async function tokenOf(admission: Admission, ttlMs = 60_000) {
  const { token } = await admission.createToken(ttlMs);
  const parsed = parseJoinToken(token);
  if (parsed === undefined) throw new Error("no token");
  return { ...parsed, text: token };
}

describe("a join token", () => {
  test("is redeemed by any member, for the key of the CA", async () => {
    const { member } = ring();
    const { secret } = await tokenOf(member());
    const ca = await readCa(secretsFolder);
    expect(await member().redeem(secret, by)).toEqual({ caKeyPem: ca?.keyPem });
  });

  test("is good once in the whole ring, also for the same joiner", async () => {
    const { member } = ring();
    const { secret } = await tokenOf(member());
    await member().redeem(secret, by);
    const again = { refusal: expect.stringContaining("was used already") };
    expect(await member().redeem(secret, by)).toEqual(again);
    expect(await member().redeem(secret, { ...by, from: "192.0.2.8" })).toEqual(again);
  });

  test("of two that come at once, one gets in", async () => {
    const { member } = ring();
    const { secret } = await tokenOf(member());
    const both = await Promise.all([member().redeem(secret, by), member().redeem(secret, by)]);
    expect(both.filter((answer) => "caKeyPem" in answer)).toHaveLength(1);
  });

  test("expires", async () => {
    const { member, state } = ring();
    const [early, late] = [await tokenOf(member()), await tokenOf(member())];
    state.nowMs += 60_000;
    expect(await member().redeem(early.secret, by)).toHaveProperty("caKeyPem");
    state.nowMs += 1;
    const refusal = expect.stringContaining("expired at 1970-01-01T00:17:40.000Z");
    expect(await member().redeem(late.secret, by)).toEqual({ refusal });
  });

  test("is nowhere to be found: not in the ring, not in the log", async () => {
    const { member, values } = ring();
    const { secret, text } = await tokenOf(member());
    await member().redeem(secret, by);
    await member().redeem(secret, by);
    expect([...values.keys()]).toEqual([`token:${secretHash(secret)}`]);
    const kept = JSON.stringify([...values]) + lines.join();
    for (const form of [text, secret.toString("hex"), secret.toString("base64url")]) {
      expect(kept).not.toContain(form);
    }
    expect(lines.join()).toContain("192.0.2.7");
  });
});

describe("strangers who guess", () => {
  test("leave nothing behind", async () => {
    const { member, values } = ring();
    for (const secret of [Buffer.alloc(32, 1), Buffer.alloc(0), Buffer.alloc(1_000_000)]) {
      expect(await member().redeem(secret, by)).toHaveProperty("refusal");
    }
    expect(values.size).toBe(0);
  });

  test("a uuid that is none is not taken, and not logged", async () => {
    const { member } = ring();
    const { secret } = await tokenOf(member());
    const odd = `${uuid}\nforged line`;
    expect(await member().redeem(secret, { ...by, uuid: odd })).toHaveProperty("refusal");
    expect(lines.join()).not.toContain("forged");
    expect(await member().redeem(secret, by)).toHaveProperty("caKeyPem");
  });
});

test("with too few members nobody gets in, and no token is made", async () => {
  const { member, state } = ring();
  const { secret } = await tokenOf(member());
  state.isSilent = true;
  const refusal = expect.stringContaining("too few members");
  expect(await member().redeem(secret, by)).toEqual({ refusal });
  await expect(member().createToken(60_000)).rejects.toThrow("too few members");
});
