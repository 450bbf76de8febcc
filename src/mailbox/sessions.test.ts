import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { SignJWT } from "jose";
import { beforeEach, describe, expect, test } from "vitest";
import type { Registers } from "../replication/registers.js";
import { ManualClock } from "../replication/testing.js";
import type { MailboxName } from "../shared/ids.js";
import type { Account } from "./account.js";
import type { Accounts } from "./accounts.js";
import { RingKeys } from "./ring-keys.js";
import { keyLifeMs, Sessions } from "./sessions.js";

const ann = "ann@ring.test" as MailboxName;
const hourMs = 3_600_000;

/** What the ring has agreed on. */
let stored: unknown;
let writes: number;
let decides: boolean;
let account: Account | "undecided" | undefined;
let clock: ManualClock;
let nodes: RingKeys[];
/** A member that is told nothing. */
let deaf: RingKeys | undefined;

const registers = {
  read: () => {
    if (!decides) return Promise.resolve({ kind: "undecided" });
    return Promise.resolve(stored === null ? { kind: "absent" } : { kind: "value", value: stored });
  },
  change: (_: string, update: (v: unknown) => { set?: { value: unknown }; result: unknown }) => {
    if (!decides) return Promise.resolve({ kind: "undecided" });
    const { set, result } = update(stored);
    if (set) {
      stored = set.value;
      writes += 1;
    }
    return Promise.resolve({ kind: set ? "changed" : "refused", value: stored, result });
  },
} as unknown as Registers;

const accounts = {
  read: () => {
    if (account === "undecided") return Promise.resolve({ kind: "undecided" });
    return Promise.resolve(account ? { kind: "account", account } : { kind: "unknown" });
  },
  update: (_: string, make: (a: Account) => Account) => {
    if (account && account !== "undecided") account = { ...make(account), version: "next" };
    return Promise.resolve({ kind: "done", mailbox: ann });
  },
} as unknown as Accounts;

function node(domain = "ring.test"): { keys: RingKeys; sessions: Sessions } {
  const keys = new RingKeys({
    ...{ registers, clock, tokenMs: keyLifeMs },
    random: { bytes: (n) => randomBytes(n) },
    announceChanged: (register) => {
      for (const each of nodes) if (each !== deaf) each.forget(register);
      return Promise.resolve();
    },
  });
  nodes.push(keys);
  return { keys, sessions: new Sessions({ keys, accounts, domain, clock }) };
}

async function tokenAt({ sessions }: ReturnType<typeof node>): Promise<string> {
  const answer = await sessions.issue(ann);
  if (answer.kind !== "token") throw new Error(answer.kind);
  return answer.token;
}

const verdict = async (at: ReturnType<typeof node>, token: string): Promise<string> =>
  (await at.sessions.verify(token)).kind;

const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
const partsOf = (token: string) => {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const parsed = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as object;
  return { header: parsed(header), payload: parsed(payload), signature };
};

beforeEach(() => {
  stored = null;
  writes = 0;
  decides = true;
  account = { passwordHash: "h", createdAtMs: 5, version: "v" };
  clock = new ManualClock();
  nodes = [];
  deaf = undefined;
});

describe("a token", () => {
  test("made at one node is good at another, for an hour", async () => {
    const [one, two] = [node(), node()];
    const answer = await one.sessions.issue(ann);
    const token = answer.kind === "token" ? answer.token : "";
    expect(answer).toMatchObject({ mailbox: ann, expiresAtMs: clock.wallMs() + hourMs });
    expect(await two.sessions.verify(token)).toMatchObject({ kind: "valid", mailbox: ann });
    expect(partsOf(token).header).toMatchObject({ alg: "EdDSA", kid: expect.any(String) });
    expect(partsOf(token).payload).toMatchObject({ iss: "ring.test", aud: "ring.test", sub: ann });
    await clock.advance(hourMs + 59_000);
    expect(await verdict(two, token)).toBe("valid");
    // Although it was good a moment ago.
    await clock.advance(2_000);
    expect(await verdict(two, token)).toBe("denied");
  });

  test("can be refreshed until it is over, thirty days from the login", async () => {
    const at = node();
    let token = await tokenAt(at);
    for (let hours = 0; hours < 30 * 24; hours += 0.75) {
      await clock.advance(0.75 * hourMs);
      const answer = await at.sessions.refresh(token);
      if (answer.kind !== "token") {
        expect(hours + 0.75).toBe(30 * 24);
        return;
      }
      token = answer.token;
    }
    throw new Error("it never ended");
  });

  test.each<[string, () => void]>([
    ["the account is gone", () => (account = undefined)],
    ["it is disabled", () => (account = { ...(account as Account), disabled: true })],
    ["its generation is over", () => (account = { ...(account as Account), generation: 1 })],
    [
      "it is another one of that name",
      () => (account = { ...(account as Account), createdAtMs: 6 }),
    ],
  ])("is void at once when %s", async (_, change) => {
    const [one, two] = [node(), node()];
    const token = await tokenAt(one);
    expect(await verdict(two, token)).toBe("valid");
    change();
    expect(await verdict(two, token)).toBe("denied");
    expect((await two.sessions.refresh(token)).kind).toBe("denied");
  });

  test("is void when it is revoked; the next one is good", async () => {
    const at = node();
    const token = await tokenAt(at);
    await at.sessions.revoke("ann");
    expect(await verdict(at, token)).toBe("denied");
    expect(await verdict(at, await tokenAt(at))).toBe("valid");
  });

  test("is neither good nor bad while the account or the keys can't be read", async () => {
    const [one, two] = [node(), node()];
    const token = await tokenAt(one);
    decides = false;
    expect(await verdict(two, token)).toBe("undecided");
    expect(await verdict(one, token)).toBe("valid");
    account = "undecided";
    expect(await verdict(one, token)).toBe("undecided");
    expect((await one.sessions.issue(ann)).kind).toBe("undecided");
  });

  test("of another ring, or for one, is worth nothing", async () => {
    const token = await tokenAt(node("other.test"));
    expect(await verdict(node(), token)).toBe("denied");
  });
});

describe("a forged token", () => {
  test.each<[string, (token: string) => string]>([
    ["nothing", () => ""],
    ["no token", () => "a.b.c"],
    ["very long", (token) => token + "x".repeat(5_000)],
    ["without signature", (token) => token.replace(/[^.]*$/, "")],
    [
      "alg none",
      (token) => {
        const { header, payload } = partsOf(token);
        return `${encode({ ...header, alg: "none" })}.${encode(payload)}.`;
      },
    ],
    [
      "for somebody else",
      (token) => {
        const { header, payload, signature } = partsOf(token);
        return `${encode(header)}.${encode({ ...payload, sub: "bob@ring.test" })}.${signature}`;
      },
    ],
    [
      "HS256 with the public key",
      (token) => {
        const { header, payload } = partsOf(token);
        const { x = "" } = (stored as { keys: { x?: string }[] }).keys[0] ?? {};
        const text = `${encode({ ...header, alg: "HS256" })}.${encode(payload)}`;
        const mac = createHmac("sha256", Buffer.from(x, "base64url")).update(text);
        return `${text}.${mac.digest("base64url")}`;
      },
    ],
    [
      "by another key under our key's name",
      (token) => {
        const { header, payload } = partsOf(token);
        const text = `${encode(header)}.${encode(payload)}`;
        const { privateKey } = generateKeyPairSync("ed25519");
        return `${text}.${sign(null, Buffer.from(text), privateKey).toString("base64url")}`;
      },
    ],
    [
      "by a key that it brings along",
      (token) => {
        const { header, payload } = partsOf(token);
        const { privateKey, publicKey } = generateKeyPairSync("ed25519");
        const jwk = publicKey.export({ format: "jwk" });
        const text = `${encode({ ...header, kid: "mine", jwk })}.${encode(payload)}`;
        return `${text}.${sign(null, Buffer.from(text), privateKey).toString("base64url")}`;
      },
    ],
  ])("%s", async (_, forge) => {
    const at = node();
    const token = await tokenAt(at);
    expect(await verdict(at, forge(token))).toBe("denied");
    expect(await verdict(at, token)).toBe("valid");
  });

  test("signed with our key, but with claims that we don't make", async () => {
    const at = node();
    await tokenAt(at);
    const key = (await at.keys.current())?.keys[0];
    if (!key) throw new Error("no key");
    const now = Math.floor(clock.wallMs() / 1_000);
    const good = { iss: "ring.test", aud: "ring.test", sub: ann, gen: "5.0", auth_time: now };
    const signed = (claims: object, kid = key.kid): Promise<string> =>
      new SignJWT({ ...good, iat: now, exp: now + 60, ...claims })
        .setProtectedHeader({ alg: "EdDSA", kid, typ: "JWT" })
        .sign(key.privateKey);
    expect(await verdict(at, await signed({}))).toBe("valid");
    for (const claims of [
      { iss: "else" },
      { aud: "else" },
      { gen: 0 },
      { sub: undefined },
      { auth_time: undefined },
      { exp: now - 61 },
      { exp: undefined },
      { iat: now - 3_700, exp: now + 999_999 },
      { nbf: now + 3_600 },
    ]) {
      expect(await verdict(at, await signed(claims)), JSON.stringify(claims)).toBe("denied");
    }
    expect(await verdict(at, await signed({}, "another kid"))).toBe("denied");
  });
});

describe("the ring's keys", () => {
  test("are made once: the first writer wins", async () => {
    const all = [node(), node(), node()];
    const rings = await Promise.all(all.map(({ keys }) => keys.current()));
    expect(writes).toBe(1);
    const kids = new Set(rings.map((ring) => ring?.keys[0]?.kid));
    const salts = new Set(rings.map((ring) => ring?.saltSecret.toString("hex")));
    expect([kids.size, salts.size]).toEqual([1, 1]);
    expect(kids.has(undefined)).toBe(false);
  });

  test("are not there while nobody can agree on them", async () => {
    decides = false;
    expect(await node().keys.current()).toBeUndefined();
    expect((await node().sessions.issue(ann)).kind).toBe("undecided");
    expect((await node().keys.rotate({ dropOld: false })).kind).toBe("undecided");
  });

  test("rotate: the new one signs, the old one verifies while its tokens live", async () => {
    const [one, two] = [node(), node()];
    const before = await tokenAt(one);
    const secret = (await one.keys.current())?.saltSecret;
    const rotation = await two.keys.rotate({ dropOld: false });
    const after = await tokenAt(one);
    expect(partsOf(after).header).toMatchObject({
      kid: rotation.kind === "rotated" && rotation.kid,
    });
    expect([await verdict(one, before), await verdict(two, after)]).toEqual(["valid", "valid"]);
    expect((await one.keys.current())?.saltSecret).toEqual(secret);
  });

  test("that signed once can't sign for ever: whoever finds it later has nothing", async () => {
    const at = node();
    await tokenAt(at);
    const old = (await at.keys.current())?.keys[0];
    await at.keys.rotate({ dropOld: false });
    if (!old) throw new Error("no key");
    const forge = (): Promise<string> => {
      const now = Math.floor(clock.wallMs() / 1_000);
      return new SignJWT({ gen: "5.0", auth_time: now, sub: ann })
        .setProtectedHeader({ alg: "EdDSA", kid: old.kid, typ: "JWT" })
        .setIssuer("ring.test")
        .setAudience("ring.test")
        .setIssuedAt(now)
        .setExpirationTime(now + 60)
        .sign(old.privateKey);
    };
    expect(await verdict(at, await forge())).toBe("valid");
    await clock.advance(keyLifeMs + 1);
    expect(await verdict(at, await forge())).toBe("denied");
  });

  test("that have leaked are dropped", async () => {
    const [one, two] = [node(), node()];
    const before = await tokenAt(one);
    // Also where the token was used a moment ago.
    expect([await verdict(one, before), await verdict(two, before)]).toEqual(["valid", "valid"]);
    await one.keys.rotate({ dropOld: true });
    expect([await verdict(one, before), await verdict(two, before)]).toEqual(["denied", "denied"]);
    expect(await verdict(two, await tokenAt(one))).toBe("valid");
  });

  test("a member that was not told of a new one finds it when it meets it", async () => {
    const [one, two] = [node(), node()];
    await two.keys.current();
    deaf = two.keys;
    await one.keys.rotate({ dropOld: true });
    expect(await verdict(two, await tokenAt(one))).toBe("valid");
  });

  test("a member that was not told of a rotation follows within a minute", async () => {
    const [one, two] = [node(), node()];
    const before = await tokenAt(two);
    deaf = two.keys;
    await one.keys.rotate({ dropOld: true });
    await clock.advance(60_000);
    expect(await verdict(two, before)).toBe("denied");
  });

  test("are bounded, and old ones go when their tokens are over", async () => {
    const at = node();
    const kinds: string[] = [];
    for (let n = 0; n < 12; n += 1) kinds.push((await at.keys.rotate({ dropOld: false })).kind);
    expect(kinds.filter((kind) => kind === "rotated")).toHaveLength(7);
    expect(kinds.at(-1)).toBe("full");
    await clock.advance(keyLifeMs);
    expect((await at.keys.rotate({ dropOld: false })).kind).toBe("rotated");
    expect((await at.keys.current())?.keys).toHaveLength(2);
  });
});
