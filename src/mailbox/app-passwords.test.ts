import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { AccountFields } from "./account.js";
import type { Accounts } from "./accounts.js";
import { AppPasswords, appPasswordsMax, isAppPassword } from "./app-passwords.js";

let account: AccountFields | undefined;
let appPasswords: AppPasswords;

beforeEach(() => {
  account = { passwordHash: "h", createdAtMs: 1 };
  const accounts = {
    update: (_: string, make: (a: AccountFields) => AccountFields) => {
      if (!account) return Promise.resolve({ kind: "unknown" });
      account = make(account);
      return Promise.resolve({ kind: "done", mailbox: "ann@ring.test" });
    },
  } as unknown as Accounts;
  appPasswords = new AppPasswords({
    accounts,
    random: { bytes: (n) => randomBytes(n) },
    clock: { wallMs: () => 7, monotonicMs: () => 7, sleep: () => Promise.resolve() },
  });
});

async function add(label: string): Promise<{ id: string; password: string }> {
  const added = await appPasswords.add("ann", label);
  if (added.kind !== "added") throw new Error(added.kind);
  return added;
}

const opens = (text: string): boolean => isAppPassword(text, account?.appPasswords);

describe("an app password", () => {
  test("has 128 bits, and is not kept", async () => {
    const { password } = await add("phone");
    // 26 characters of an alphabet of 32.
    expect(password).toMatch(/^([a-z2-9]{4}-){6}[a-z2-9]{2}$/);
    expect(JSON.stringify(account)).not.toContain(password.replaceAll("-", ""));
    expect(account?.appPasswords?.[0]).toMatchObject({ label: "phone", createdAtMs: 7 });
  });

  test("opens, as shown or as people type it, and others do not", async () => {
    const { password } = await add("phone");
    const other = (await add("laptop")).password;
    for (const text of [password, other, password.replaceAll("-", ""), password.toUpperCase()]) {
      expect(opens(text)).toBe(true);
    }
    expect(opens(` ${password.replaceAll("-", " ")} `)).toBe(true);
    const last = password.endsWith("a") ? "b" : "a";
    for (const text of ["", "h", password.slice(0, -1), `${password.slice(0, -1)}${last}`]) {
      expect(opens(text)).toBe(false);
    }
    expect(isAppPassword(password)).toBe(false);
  });

  test("is revoked by itself, and tokens with it", async () => {
    const [phone, laptop] = [await add("phone"), await add("laptop")];
    expect(await appPasswords.revoke("ann", phone.id)).toMatchObject({ found: true });
    expect([opens(phone.password), opens(laptop.password)]).toEqual([false, true]);
    expect(account?.generation).toBe(1);
    expect(await appPasswords.revoke("ann", phone.id)).toMatchObject({ found: false });
    expect(account?.generation).toBe(1);
  });

  test("is one of 32 at the most", async () => {
    for (let n = 0; n < appPasswordsMax; n += 1) await add(`n ${n}`);
    expect(await appPasswords.add("ann", "one more")).toEqual({ kind: "full" });
    expect(account?.appPasswords).toHaveLength(32);
  });

  test.each([[""], ["  "], ["a\nb"], ["x".repeat(65)]])(
    "is refused the label %j",
    async (label) => {
      const answer = await appPasswords.add("ann", label);
      expect(answer).toMatchObject({ kind: "refused", change: { kind: "invalid" } });
      expect(account?.appPasswords).toBeUndefined();
    },
  );

  test("needs an account", async () => {
    account = undefined;
    const answer = await appPasswords.add("ann", "phone");
    expect(answer).toMatchObject({ kind: "refused", change: { kind: "unknown" } });
  });
});
