import { beforeEach, describe, expect, test } from "vitest";
import type { Registers } from "../replication/registers.js";
import type { MailboxName } from "../shared/ids.js";
import { Accounts } from "./accounts.js";
import type { Passwords } from "./passwords.js";

const scram = { salt: "c2FsdA==", iterations: 4_096, storedKey: "", serverKey: "" };
const ann = "ann@ring.test" as MailboxName;
let value: unknown;
let decides: boolean;
let reads: number;
let nowMs: number;
let announced: string[];
/** Done by somebody else between two rounds of a change. */
let meanwhile: (() => void) | undefined;
let accounts: Accounts;

beforeEach(() => {
  value = null;
  decides = true;
  reads = 0;
  nowMs = 0;
  announced = [];
  meanwhile = undefined;
  let nonces = 0;
  const registers = {
    read: () => {
      reads += 1;
      if (!decides) return Promise.resolve({ kind: "undecided" });
      return Promise.resolve(value === null ? { kind: "absent" } : { kind: "value", value });
    },
    change: (_: string, update: (v: unknown) => { set?: { value: unknown }; result: unknown }) => {
      if (!decides) return Promise.resolve({ kind: "undecided" });
      // As in an interrupted round: the update runs again on what it made itself.
      for (let round = 0; ; round += 1) {
        const { set, result } = update(value);
        if (set) value = set.value;
        if (round === 0) meanwhile?.();
        if (!set || round === 1) return Promise.resolve({ kind: "changed", value, result });
      }
    },
  };
  accounts = new Accounts({
    registers: registers as unknown as Registers,
    passwords: {
      credentials: (text: string) => Promise.resolve({ passwordHash: `h:${text}`, scram }),
    } as unknown as Passwords,
    domain: "ring.test",
    clock: { wallMs: () => 7, monotonicMs: () => nowMs, sleep: () => Promise.resolve() },
    random: {
      bytes: (n) => {
        nonces += 1;
        return Buffer.alloc(n, nonces);
      },
    },
    announceChanged: (register) => {
      announced.push(register);
      return Promise.resolve();
    },
  });
});

describe("an account", () => {
  test("is added once, changed, removed, and may be added again", async () => {
    expect(await accounts.changePassword("ann", "x")).toEqual({ kind: "unknown" });
    expect(await accounts.add("ann", "one")).toEqual({ kind: "done", mailbox: ann });
    expect(await accounts.add("ann", "two")).toEqual({ kind: "exists" });
    expect(await accounts.read(ann)).toMatchObject({ account: { passwordHash: "h:one" } });
    expect((await accounts.changePassword("ann@RING.test", "two")).kind).toBe("done");
    expect(await accounts.read(ann)).toMatchObject({ account: { passwordHash: "h:two" } });
    expect((await accounts.remove("ann")).kind).toBe("done");
    expect((await accounts.read(ann)).kind).toBe("unknown");
    expect(await accounts.remove("ann")).toEqual({ kind: "unknown" });
    expect((await accounts.add("ann", "three")).kind).toBe("done");
    expect(announced).not.toHaveLength(0);
  });

  test("has what SCRAM needs, and its tokens end with a password", async () => {
    await accounts.add("ann", "one");
    const added = await accounts.read(ann);
    expect(added).toMatchObject({ account: { scram } });
    expect(added.kind === "account" && added.account.generation).toBeUndefined();
    await accounts.changePassword("ann", "two");
    await accounts.changePassword("ann", "two");
    expect(await accounts.read(ann)).toMatchObject({ account: { scram, generation: 2 } });
  });

  test("has another version after every change", async () => {
    await accounts.add("ann", "one");
    const before = await accounts.read(ann);
    await accounts.changePassword("ann", "one");
    const after = await accounts.read(ann);
    expect(before.kind === "account" && before.account.version).toBeTruthy();
    expect(after).not.toEqual(before);
  });

  test.each([
    ["without a password", "ann", ""],
    ["with a password without end", "ann", "x".repeat(1_025)],
    ["with a password that no client can send", "ann", "a\tb"],
    ["of another domain", "ann@example.org", "x"],
    ["with a name that is none", "a b", "x"],
  ])("is refused %s", async (_, name, password) => {
    expect((await accounts.add(name, password)).kind).toBe("invalid");
    expect(value).toBeNull();
  });

  test("that others changed on top of an interrupted change is left to them", async () => {
    await accounts.add("ann", "one");
    meanwhile = () => {
      value = { nonce: "theirs", removed: true };
    };
    expect(await accounts.changePassword("ann", "two")).toEqual({ kind: "undecided" });
    expect(value).toEqual({ nonce: "theirs", removed: true });
  });

  test("is neither there nor away when too few answer", async () => {
    decides = false;
    expect(await accounts.exists(ann)).toBe("undecided");
    expect(await accounts.add("ann", "x")).toEqual({ kind: "undecided" });
  });
});

describe("that an account exists", () => {
  test("is remembered for 5 s, that it does not is not", async () => {
    expect(await accounts.exists(ann)).toBe("no");
    await accounts.add("ann", "x");
    expect(await accounts.exists(ann)).toBe("yes");
    const before = reads;
    nowMs += 4_999;
    expect([await accounts.exists(ann), reads]).toEqual(["yes", before]);
    nowMs += 2;
    expect([await accounts.exists(ann), reads]).toEqual(["yes", before + 1]);
  });

  test("is forgotten when it is told to have changed", async () => {
    await accounts.add("ann", "x");
    await accounts.exists(ann);
    value = null;
    accounts.forget(`account:${ann}`);
    expect(await accounts.exists(ann)).toBe("no");
  });
});
