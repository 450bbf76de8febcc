import type * as Argon2 from "@node-rs/argon2";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { Passwords, scramIterations } from "./passwords.js";

const verified: string[] = [];
vi.mock("@node-rs/argon2", async (original) => {
  const argon2 = await original<typeof Argon2>();
  return {
    ...argon2,
    verify: (hash: string, password: string) => {
      verified.push(hash);
      return argon2.verify(hash, password);
    },
  };
});

let nowMs = 0;
const passwords = new Passwords(() => nowMs);
let account = { passwordHash: "", version: "1" };

/** The answer, and how many hashes it took. */
async function check(password: string, of: typeof account | undefined): Promise<[boolean, number]> {
  const before = verified.length;
  return [await passwords.check("ann", password, of), verified.length - before];
}

beforeAll(async () => {
  account = { ...(await passwords.credentials("secret")), version: "1" };
});

test("what is kept is a SCRAM verifier, too, with a salt of its own each time", async () => {
  const [one, two] = [await passwords.credentials("x"), await passwords.credentials("x")];
  expect(one.scram?.iterations).toBe(scramIterations);
  expect(scramIterations).toBeGreaterThanOrEqual(10_000);
  expect(one.scram?.salt).not.toBe(two.scram?.salt);
  expect(one.scram?.storedKey).not.toBe(two.scram?.storedKey);
});

test("hashes are Argon2id with 19 MiB and two passes", () => {
  expect(account.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
});

describe("a check", () => {
  test("costs one hash the first time, none while it is remembered, and says no to others", async () => {
    expect(await check("secret", account)).toEqual([true, 1]);
    expect(await check("secret", account)).toEqual([true, 0]);
    expect(await check("Secret", account)).toEqual([false, 1]);
    expect(await check("secret", account)).toEqual([true, 0]);
  });

  test("costs an unknown user one hash as well, of nobody's password", async () => {
    expect(await check("secret", undefined)).toEqual([false, 1]);
    expect(verified.at(-1)).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(verified.at(-1)).not.toBe(account.passwordHash);
  });

  test("does not go by what was remembered of an earlier password", async () => {
    expect(await check("secret", account)).toEqual([true, 0]);
    const changed = { ...(await passwords.credentials("other")), version: "2" };
    expect(await check("secret", changed)).toEqual([false, 1]);
    expect(await check("other", changed)).toEqual([true, 1]);
    expect(await check("secret", undefined)).toEqual([false, 1]);
  });

  test("hashes anew when the password was not used for half an hour", async () => {
    expect((await check("secret", account))[0]).toBe(true);
    for (let n = 0; n < 3; n += 1) {
      nowMs += 30 * 60 * 1_000 - 1;
      expect(await check("secret", account)).toEqual([true, 0]);
    }
    nowMs += 30 * 60 * 1_000;
    expect(await check("secret", account)).toEqual([true, 1]);
  });

  test("takes one character for the same, however it is composed", async () => {
    const composed = { ...(await passwords.credentials("p\u00e4ss")), version: "3" };
    expect(await check("pa\u0308ss", composed)).toEqual([true, 1]);
    expect(await check("", composed)).toEqual([false, 1]);
  });

  test("recognises what it has verified, without a hash, and nothing else", async () => {
    const other = { ...account, version: "4" };
    const before = verified.length;
    expect(passwords.recognises("cyd", "secret", other)).toBe(false);
    await passwords.check("cyd", "secret", other);
    expect(verified.length).toBe(before + 1);
    expect(passwords.recognises("cyd", "secret", other)).toBe(true);
    expect(passwords.recognises("cyd", "Secret", other)).toBe(false);
    expect(passwords.recognises("dan", "secret", other)).toBe(false);
    expect(passwords.recognises("cyd", "secret", { ...other, version: "5" })).toBe(false);
    expect(passwords.recognises("cyd", "secret", undefined)).toBe(false);
    expect(verified.length).toBe(before + 1);
  });
});
