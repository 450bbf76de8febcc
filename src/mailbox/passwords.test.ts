import type * as Argon2 from "@node-rs/argon2";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { Passwords } from "./passwords.js";

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
  account = { passwordHash: await passwords.hash("secret"), version: "1" };
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
    const changed = { passwordHash: await passwords.hash("other"), version: "2" };
    expect(await check("secret", changed)).toEqual([false, 1]);
    expect(await check("other", changed)).toEqual([true, 1]);
    expect(await check("secret", undefined)).toEqual([false, 1]);
  });

  test("hashes anew after minutes", async () => {
    expect((await check("secret", account))[0]).toBe(true);
    nowMs += 5 * 60 * 1_000 + 1;
    expect(await check("secret", account)).toEqual([true, 1]);
  });
});
