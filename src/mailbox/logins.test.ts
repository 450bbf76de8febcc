import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import type * as Argon2 from "@node-rs/argon2";
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Groups } from "../replication/group.js";
import { ManualClock, quietLog, settle } from "../replication/testing.js";
import { TryTable } from "../replication/try-table.js";
import type { MailboxName } from "../shared/ids.js";
import type { Account } from "./account.js";
import type { AccountAnswer } from "./accounts.js";
import { type ClientOrigin, type SaslMechanism, saslMechanisms } from "./authentication.js";
import { Logins } from "./logins.js";
import { Passwords } from "./passwords.js";
import { Tries } from "./tries.js";

const hashed: string[] = [];
vi.mock("@node-rs/argon2", async (original) => {
  const argon2 = await original<typeof Argon2>();
  return {
    ...argon2,
    verify: (hash: string, password: string) => {
      hashed.push(password);
      return argon2.verify(hash, password);
    },
  };
});

const ann = "ann@ring.test" as MailboxName;
const from: ClientOrigin = { address: "192.0.2.1", protocol: "pop3" };
const appPassword = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
const limits = { perAccount: 4, perAddress: 100, windowMs: 300_000 };
const granted = (folder: "inbox" | "outbox" = "inbox") => ({
  kind: "granted",
  identity: { mailbox: ann, folder },
});

/** Tells for how long somebody wants to sleep. */
class SleepyClock extends ManualClock {
  readonly asked: number[] = [];

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.asked.push(ms);
    return super.sleep(ms, signal);
  }
}

let account: Account;
let clock: SleepyClock;
let passwords: Passwords;
let answer: AccountAnswer | Error;
let table: TryTable;
let counts: boolean;
let released: number;
let noted: Set<string>;
let logged: object[];
let stopping: AbortController;
let logins: Logins;

beforeAll(async () => {
  const credentials = await new Passwords(() => 0).credentials("secret");
  const hash = createHash("sha256").update(appPassword).digest("base64");
  const appPasswords = [{ id: "1", label: "phone", hash, createdAtMs: 1 }];
  account = { ...credentials, appPasswords, createdAtMs: 1, version: "v1" };
});

beforeEach(() => {
  clock = new SleepyClock();
  passwords = new Passwords(() => clock.monotonicMs());
  answer = { kind: "account", account };
  table = new TryTable(clock);
  counts = true;
  released = 0;
  noted = new Set();
  logged = [];
  stopping = new AbortController();
  logins = newLogins();
});

function newLogins(): Logins {
  const groups = {
    ask: async (_: string, method: string, request: Parameters<typeof note>[0]) => {
      if (method === "releaseTry") {
        released += 1;
        table.release(request.key, request.id);
      } else if (request.max > 0) noted.add(request.id);
      const answers = new Map([["u1", { tries: method === "noteTry" ? note(request) : [] }]]);
      return Promise.resolve({ quorum: counts, answers });
    },
  } as unknown as Groups;
  const note = (request: { key: string; id: string; windowMs: number; max: number }) =>
    table.note(request.key, request.id, request);
  return new Logins({
    accounts: {
      read: (mailbox) => {
        if (answer instanceof Error) return Promise.reject(answer);
        if (answer.kind === "account" && mailbox !== ann) {
          return Promise.resolve({ kind: "unknown", former: false });
        }
        return Promise.resolve(answer);
      },
    },
    passwords,
    tries: new Tries({ groups, limits, random: { bytes: (n) => randomBytes(n) } }),
    sessions: {
      verify: (token) => {
        if (token === "late") return Promise.resolve({ kind: "undecided" });
        if (token !== "good") return Promise.resolve({ kind: "denied" });
        return Promise.resolve({ kind: "valid", mailbox: ann, loginAtSeconds: 0 });
      },
    },
    keys: { current: () => Promise.resolve({ saltSecret: Buffer.alloc(32, 7), keys: [] }) },
    domain: "ring.test",
    clock,
    log: { ...quietLog, info: (fields) => void logged.push(fields) },
    stopping: stopping.signal,
  });
}

/** The result, time passing as it is slept away. */
async function result<T>(asked: Promise<T>): Promise<T> {
  let isOver = false;
  const over = asked.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await settle();
    const ms = clock.asked.shift();
    if (ms !== undefined) await clock.advance(ms);
  }
  return over;
}

const password = (name: string, text: string, origin = from) =>
  result(logins.password(name, text, origin));

/** What it says to the lines of an exchange. */
async function sasl(mechanism: SaslMechanism, ...lines: (string | Buffer)[]) {
  const exchange = logins.begin(mechanism, from);
  const said: unknown[] = [];
  for (const line of lines) {
    const reply = await result(exchange.respond(Buffer.from(line)));
    if (reply.kind === "challenge") said.push(reply.data.toString());
    else return [...said, reply.kind === "done" ? reply.result : reply];
  }
  return said;
}

/** A client of SCRAM, by the formulas of RFC 5802 §3. */
async function scram(name: string, secret: string, between = (): void => undefined) {
  const exchange = logins.begin("SCRAM-SHA-256", from);
  const first = await exchange.respond(Buffer.from(`n,,n=${name},r=abc`));
  if (first.kind !== "challenge") return { serverFirst: "", last: first };
  const serverFirst = first.data.toString();
  const [, nonce = "", salt = "", iterations = ""] =
    /^r=(.*),s=(.*),i=(\d+)$/.exec(serverFirst) ?? [];
  const sha256 = (key: Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const salted = pbkdf2Sync(secret, Buffer.from(salt, "base64"), Number(iterations), 32, "sha256");
  const key = sha256(salted, "Client Key");
  const without = `c=biws,r=${nonce}`;
  const stored = createHash("sha256").update(key).digest();
  const signature = sha256(stored, `n=${name},r=abc,${serverFirst},${without}`);
  const proof = Buffer.from(key.map((octet, n) => octet ^ (signature[n] ?? 0)));
  between();
  const final = Buffer.from(`${without},p=${proof.toString("base64")}`);
  let last = await result(exchange.respond(final));
  if (last.kind === "challenge") last = await exchange.respond(Buffer.alloc(0));
  return { serverFirst, last };
}

describe("a password", () => {
  test.each([
    ["by name", "ann", "secret", granted()],
    ["in another case, with the domain", "Ann@RING.test", "secret", granted()],
    ["for the outbox", "ann/outbox", "secret", granted("outbox")],
    ["for the outbox, with the domain", "ann@ring.test/outbox", "secret", granted("outbox")],
    ["that is wrong", "ann", "Secret", { kind: "denied" }],
    ["that is empty", "ann", "", { kind: "denied" }],
    ["that is too long", "ann", "x".repeat(2_000), { kind: "denied" }],
    ["of nobody", "bob", "secret", { kind: "denied" }],
    ["for a maildrop that is none", "ann/other", "secret", { kind: "denied" }],
    ["of a name that can't be one", "no name@@", "secret", { kind: "denied" }],
    ["of the empty name", "", "secret", { kind: "denied" }],
    ["of a name without end", "x".repeat(100_000), "secret", { kind: "denied" }],
  ])("%s", async (_, name, text, expected) => {
    const before = hashed.length;
    expect(await password(name, text)).toEqual(expected);
    expect(hashed.length - before).toBe(1);
  });

  test("of a disabled account is wrong, after the same work", async () => {
    await password("ann", "secret");
    answer = { kind: "account", account: { ...account, disabled: true } };
    const before = hashed.length;
    expect(await password("ann", "secret")).toEqual({ kind: "denied" });
    expect(await password("ann", appPassword)).toEqual({ kind: "denied" });
    expect(hashed.length - before).toBe(2);
  });

  test("can't be checked while the account can't be read, or nobody counts", async () => {
    answer = { kind: "undecided" };
    expect(await password("ann", "secret")).toEqual({ kind: "tempfail" });
    answer = { kind: "account", account };
    counts = false;
    const before = hashed.length;
    expect(await password("ann", "secret")).toEqual({ kind: "tempfail" });
    expect(hashed.length).toBe(before);
    answer = new Error("a bug");
    expect(await password("ann", "secret")).toEqual({ kind: "tempfail" });
  });

  test("is logged by nobody, nor is what may be one", async () => {
    await password("ann", "Secret");
    await password("my s3cret", "Secret");
    expect(logged).toEqual([
      { mailbox: ann, address: "192.0.2.1", protocol: "pop3" },
      { mailbox: undefined, address: "192.0.2.1", protocol: "pop3" },
    ]);
  });
});

describe("wrong tries", () => {
  const wrong = async (times: number, name = "ann", origin = from): Promise<string[]> => {
    const kinds: string[] = [];
    for (let n = 0; n < times; n += 1) kinds.push((await password(name, `w${n}`, origin)).kind);
    return kinds;
  };

  test.each(["ann", "nobody", "no name@@"])("of %s: four, then none is checked", async (name) => {
    expect(await wrong(6, name)).toEqual([
      ...Array<string>(4).fill("denied"),
      ...Array<string>(2).fill("throttled"),
    ]);
    const before = hashed.length;
    const last = await password(name, "secret");
    expect(last.kind).toBe("throttled");
    expect(hashed.length).toBe(before);
    await clock.advance(limits.windowMs);
    expect((await password(name, "secret")).kind).toBe(name === "ann" ? "granted" : "denied");
  });

  test("count for all spellings and both maildrops of an account", async () => {
    for (const name of ["ann", "ANN@ring.test", "ann/outbox", "ann@RING.TEST/OUTBOX"]) {
      expect((await password(name, "wrong")).kind).toBe("denied");
    }
    expect((await password("ann", "wrong")).kind).toBe("throttled");
  });

  test("count for SCRAM as well; right ones of either don't", async () => {
    for (let n = 0; n < 8; n += 1) {
      expect((await scram("ann", "secret")).last).toEqual({ kind: "done", result: granted() });
    }
    for (let n = 0; n < 2; n += 1) {
      const { last } = await scram("ann", "wrong");
      expect(last).toEqual({ kind: "done", result: { kind: "denied" } });
      expect((await password("ann", "wrong")).kind).toBe("denied");
    }
    const { last } = await scram("ann", "secret");
    expect(last).toMatchObject({ kind: "done", result: { kind: "throttled" } });
  });

  test("by somebody else don't keep out who is known: by password, app password, token", async () => {
    expect((await password("ann", "secret")).kind).toBe("granted");
    expect((await wrong(8)).at(-1)).toBe("throttled");
    expect((await password("ann", "secret")).kind).toBe("granted");
    expect((await password("ann", appPassword)).kind).toBe("granted");
    const token = await sasl("OAUTHBEARER", "n,a=ann,\x01auth=Bearer good\x01\x01");
    expect(token).toEqual([granted()]);
    expect((await password("ann", "w")).kind).toBe("throttled");
  });

  test("from one address, of many names, are bounded as well", async () => {
    passwords.check = (_name, text) => Promise.resolve(text === "secret");
    const names = Array.from({ length: 30 }, (_, n) => `name${n}`);
    const kinds: string[] = [];
    for (const name of names) kinds.push(...(await wrong(4, name)));
    expect(kinds.filter((kind) => kind === "denied")).toHaveLength(limits.perAddress);
    expect((await password("ann", "secret")).kind).toBe("throttled");
    const elsewhere = { ...from, address: "192.0.2.2" };
    expect((await password("ann", "secret", elsewhere)).kind).toBe("granted");
  });

  test("that could not be checked are given back", async () => {
    passwords.check = () => Promise.reject(new Error("broken"));
    expect(await password("ann", "secret")).toEqual({ kind: "tempfail" });
    await settle();
    expect(released).toBe(1);
    expect(table.size).toBe(0);
  });

  test("are answered late, and hold up nobody else", async () => {
    passwords.check = (_name, text) => Promise.resolve(text === "secret");
    for (let n = 0; n < 3; n += 1) await password("ann", "wrong");
    let answered = false;
    const last = logins.password("ann", "wrong", from).finally(() => {
      answered = true;
    });
    for (let n = 0; n < 20; n += 1) await settle();
    expect(clock.asked).toEqual([2_000]);
    expect(answered).toBe(false);
    // Its turn is over, its delay is not.
    expect((await logins.password("ann", "secret", from)).kind).toBe("throttled");
    expect(answered).toBe(false);
    await clock.advance(2_000);
    expect((await last).kind).toBe("denied");
  });

  test.each(["the client is gone", "the node stops"])("end their delay when %s", async (what) => {
    passwords.check = () => Promise.resolve(false);
    for (let n = 0; n < 3; n += 1) await password("ann", "wrong");
    const gone = new AbortController();
    const asked = logins.password("ann", "wrong", { ...from, signal: gone.signal });
    for (let n = 0; n < 20; n += 1) await settle();
    (what === "the node stops" ? stopping : gone).abort();
    expect(await asked).toEqual({ kind: "denied" });
  });
});

test("twenty connections of one client at once need one try and one hash", async () => {
  const before = hashed.length;
  const all = Array.from({ length: 20 }, () => logins.password("ann", "secret", from));
  const kinds = (await result(Promise.all(all))).map(({ kind }) => kind);
  expect(new Set(kinds)).toEqual(new Set(["granted"]));
  expect([noted.size, hashed.length - before]).toEqual([1, 1]);
});

describe("SASL", () => {
  test("PLAIN: for oneself, under whatever spelling, and for nobody else", async () => {
    expect(await sasl("PLAIN", "\0ann\0secret")).toEqual([granted()]);
    expect(await sasl("PLAIN", "ann@ring.test\0ann\0secret")).toEqual([granted()]);
    expect(await sasl("PLAIN", "bob\0ann\0secret")).toEqual([{ kind: "denied" }]);
    expect(await sasl("PLAIN", "ann\0ann/outbox\0secret")).toEqual([granted("outbox")]);
  });

  test("LOGIN", async () => {
    expect(await sasl("LOGIN", "ann", "secret")).toEqual(["Password:", granted()]);
    expect((await sasl("LOGIN", "ann", "wrong")).at(-1)).toEqual({ kind: "denied" });
  });

  test.each([
    ["n,,", "good", granted()],
    ["n,a=ann,", "good", granted()],
    ["n,a=ann@ring.test/outbox,", "good", granted("outbox")],
    ["n,a=bob,", "good", { kind: "denied" }],
    ["n,a=ann,", "late", { kind: "tempfail" }],
    ["n,a=ann,", "bad", { kind: "denied" }],
  ])("OAUTHBEARER %s with a token that is %s", async (header, token, expected) => {
    const said = await sasl("OAUTHBEARER", `${header}\x01auth=Bearer ${token}\x01\x01`, "\x01");
    expect(said.at(-1)).toEqual(expected);
  });

  test("XOAUTH2", async () => {
    const message = (user: string) => `user=${user}\x01auth=Bearer good\x01\x01`;
    expect(await sasl("XOAUTH2", message("ann"))).toEqual([granted()]);
    expect((await sasl("XOAUTH2", message("bob"), "")).at(-1)).toEqual({ kind: "denied" });
  });

  test("SCRAM-SHA-256, but not with an app password", async () => {
    expect((await scram("ann", "secret")).last).toEqual({ kind: "done", result: granted() });
    expect((await scram("ann/outbox", "secret")).last).toEqual({
      kind: "done",
      result: granted("outbox"),
    });
    const { last } = await scram("ann", appPassword);
    expect(last).toEqual({ kind: "done", result: { kind: "denied" } });
  });

  test("SCRAM-SHA-256: a password that changes meanwhile is not good any more", async () => {
    const { last } = await scram("ann", "secret", () => {
      answer = { kind: "account", account: { ...account, version: "v2" } };
    });
    expect(last).toEqual({ kind: "done", result: { kind: "denied" } });
  });

  test("SCRAM-SHA-256: who is not there has a salt, too, the same at every node", async () => {
    const saltOf = async (name: string): Promise<string> => {
      const { serverFirst, last } = await scram(name, "secret");
      expect(last).toEqual({ kind: "done", result: { kind: "denied" } });
      return /,(s=.*)$/.exec(serverFirst)?.[1] ?? "";
    };
    const [bob, again] = [await saltOf("bob"), await saltOf("Bob@RING.test")];
    expect(again).toBe(bob);
    logins = newLogins();
    expect(await saltOf("bob")).toBe(bob);
    expect(await saltOf("cyd")).not.toBe(bob);
    // Of the form that those have who are there.
    const known = /,(s=.*)$/.exec((await scram("ann", "secret")).serverFirst)?.[1] ?? "";
    expect(bob.length).toBe(known.length);
    expect(bob.slice(-8)).toBe(known.slice(-8));
  });

  test.each([
    ["has no verifier", () => ({ ...account, scram: undefined })],
    ["is disabled", () => ({ ...account, disabled: true })],
  ])("SCRAM-SHA-256: an account that %s is denied", async (_, make) => {
    answer = { kind: "account", account: make() as Account };
    const { serverFirst, last } = await scram("ann", "secret");
    expect(serverFirst).toMatch(/,i=100000$/);
    expect(last).toEqual({ kind: "done", result: { kind: "denied" } });
  });

  test("whatever a client sends: no throw, no grant", async () => {
    passwords.check = (_name, text, who) => Promise.resolve(who !== undefined && text === "secret");
    const pieces = ["\0", "\x01", "ann", "wrong", "n,,", "n=ann", ",r=x", "auth=Bearer bad", "c="];
    const line = fc.oneof(
      fc.uint8Array({ maxLength: 50 }).map((octets) => Buffer.from(octets)),
      fc
        .array(fc.constantFrom(...pieces), { maxLength: 6 })
        .map((all) => Buffer.from(all.join(""))),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...saslMechanisms),
        fc.array(line, { minLength: 4, maxLength: 4 }),
        async (mechanism, lines) => {
          const last = (await sasl(mechanism, ...lines)).at(-1) as { kind: string };
          expect(["malformed", "denied", "throttled"]).toContain(last.kind);
        },
      ),
      { numRuns: 500 },
    );
  });
});
