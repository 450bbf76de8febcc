import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  canonicalDomain,
  canonicalMailbox,
  parseAddress,
  parseLogin,
  validateAccountName,
} from "./address.js";

const served = ["ring.test", "bücher.example"];
const mailboxOf = (address: string) => canonicalMailbox(address, served, "ring.test");

describe("canonicalMailbox: one person, one mailbox", () => {
  test.each([
    ["alice@ring.test", "alice@ring.test"],
    ["Alice@RING.Test", "alice@ring.test"],
    ["alice+news@ring.test", "alice@ring.test"],
    ["alice+a+b@ring.test", "alice@ring.test"],
    ['"alice"@ring.test', "alice@ring.test"],
    ['"a\\lice"@ring.test', "alice@ring.test"],
    ["jose\u0301@ring.test", "jos\u00e9@ring.test"],
    ["JOS\u00c9@ring.test", "jos\u00e9@ring.test"],
    ["a@bücher.example", "a@xn--bcher-kva.example"],
    ["a@BU\u0308CHER.example", "a@xn--bcher-kva.example"],
    ["a@xn--bcher-kva.example", "a@xn--bcher-kva.example"],
    ["Postmaster", "postmaster@ring.test"],
    ["+tag@ring.test", "+tag@ring.test"],
    [`${"a".repeat(64)}@ring.test`, `${"a".repeat(64)}@ring.test`],
  ])("%s is %s", (address, mailbox) => {
    expect(mailboxOf(address)).toEqual({ kind: "mailbox", mailbox });
  });

  test.each([
    ["alice@elsewhere.test"],
    ["alice@sub.ring.test"],
    ["alice@[127.0.0.1]"],
    ['"a b"@elsewhere.test'],
  ])("%s is not ours", (address) => expect(mailboxOf(address)).toEqual({ kind: "relay" }));

  test.each([
    ["", "local part is empty"],
    ["@ring.test", "local part is empty"],
    ["alice@", "domain is empty"],
    ["alice", "domain is missing"],
    ["a@b@ring.test", "domain is malformed"],
    ["../../x@ring.test", "local part is malformed"],
    [".alice@ring.test", "local part is malformed"],
    ["alice.@ring.test", "local part is malformed"],
    ["al ice@ring.test", "local part is malformed"],
    ['"al ice"@ring.test', "local part needs quotes, which no mailbox here has"],
    ['"alice@ring.test', "quoted local part is malformed"],
    ["alice\r\nX: y@ring.test", "contains a control character"],
    ["a\u0085@ring.test", "contains a control character"],
    ["a\u2028@ring.test", "contains a control character"],
    ["a\ud800@ring.test", "contains a control character"],
    ["a\u037e@ring.test", "local part is malformed"],
    ["alice@ring..test", "domain is malformed"],
    ["alice@-ring.test", "domain is malformed"],
    ["alice@ring_.test", "domain is malformed"],
    [`${"a".repeat(65)}@ring.test`, "local part is longer than 64 octets"],
    [`${"é".repeat(33)}@ring.test`, "local part is longer than 64 octets"],
    [`a@${"b".repeat(64)}.test`, "domain is malformed"],
    [`a@${"b.".repeat(150)}test`, "longer than 254 octets"],
  ])("%j is refused: %s", (address, why) => {
    expect(mailboxOf(address)).toEqual({ kind: "invalid", why });
  });

  test("lower case may need more octets than upper case: the limit holds for the name", () => {
    expect(mailboxOf(`${"\u0130".repeat(32)}@ring.test`).kind).toBe("invalid");
  });
});

describe("parseAddress", () => {
  test("undoes the quoting of RFC 5321 §4.1.2", () => {
    expect(parseAddress('"a\\"b@c"@x.test')).toEqual({
      kind: "address",
      local: 'a"b@c',
      domain: "x.test",
      quoted: true,
    });
  });
});

describe("parseLogin", () => {
  test.each([
    ["alice", "alice@ring.test"],
    ["Alice@Ring.Test", "alice@ring.test"],
    ["bob@other.test", "bob@other.test"],
    ["alice+x", undefined],
    ["al@ice@ring.test", undefined],
    ["alice@", undefined],
    ["", undefined],
  ])("%j is %j", (name, mailbox) => expect(parseLogin(name, "ring.test")).toBe(mailbox));
});

describe("validateAccountName", () => {
  test.each([
    ["alice", "alice"],
    ["Alice.B-c_9", "alice.b-c_9"],
    ["jose\u0301", "jos\u00e9"],
    ["अनिल", "अनिल"],
    ["山田", "山田"],
  ])("%s is good", (name, local) => {
    expect(validateAccountName(name)).toEqual({ kind: "ok", local });
  });

  test.each([
    [""],
    ["a+b"],
    [".a"],
    ["a."],
    ["a..b"],
    ["-a"],
    ["a/b"],
    ["a b"],
    ["a\u00a0b"],
    ["a\u200bb"],
    ["a\u3164b"],
    ["a\tb"],
    ["a@b"],
    ["ａlice"],
    ["ﬁn"],
    ["\u0301a"],
    ["a".repeat(65)],
    ["é".repeat(33)],
  ])("%j is refused in one line", (name) => {
    const answer = validateAccountName(name);
    expect(answer).toMatchObject({
      kind: "invalid",
      why: expect.stringMatching(/^[^\r\n]{5,80}$/),
    });
  });
});

describe("whatever comes", () => {
  const nasty = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({
      unit: fc.constantFrom("a", "A", "+", ".", '"', "\\", "@", "İ", "\u0301", "ß", "-"),
    }),
  );
  const domain = fc.oneof(
    fc.constantFrom("ring.test", "bücher.example", "Ring.TEST"),
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.string({ unit: fc.constantFrom("x", "n", "-", ".", "ü", "1", "。", "ß") }),
  );

  test("nothing throws, and what is canonical stays as it is", () => {
    fc.assert(
      fc.property(nasty, domain, (local, host) => {
        const once = canonicalMailbox(`${local}@${host}`, [...served, host], "ring.test");
        if (once.kind !== "mailbox") return;
        expect(canonicalMailbox(once.mailbox, [...served, host])).toEqual(once);
        expect(once.mailbox).toBe(once.mailbox.normalize("NFC"));
        expect(once.mailbox).not.toMatch(/[\p{Cc}\p{Cs}\u2028\u2029]/u);
      }),
      { numRuns: 5_000 },
    );
  });

  test("an account's name is the mailbox that mail for it goes to", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 20 }), (name) => {
        fc.pre(!name.includes("@"));
        const account = validateAccountName(name);
        const login = parseLogin(name, "ring.test");
        if (account.kind === "invalid") {
          expect(login).toBeUndefined();
          return;
        }
        expect(login).toBe(`${account.local}@ring.test`);
        expect(mailboxOf(`${name}@ring.test`)).toEqual({ kind: "mailbox", mailbox: login });
      }),
      { numRuns: 5_000 },
    );
  });

  test("domains too", () => {
    fc.assert(
      fc.property(domain, (host) => {
        const once = canonicalDomain(host);
        if (once !== undefined) expect(canonicalDomain(once)).toBe(once);
      }),
      { numRuns: 3_000 },
    );
  });
});
