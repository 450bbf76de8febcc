import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatJoinToken, makeJoinToken, parseJoinToken, secretHash } from "./join-token.js";

const fingerprint = randomBytes(32);

test("what was written is read; every token has a secret of its own", () => {
  const token = makeJoinToken(fingerprint);
  expect(parseJoinToken(formatJoinToken(token))).toEqual(token);
  expect(token.secret).toHaveLength(32);
  expect(makeJoinToken(fingerprint).secret).not.toEqual(token.secret);
});

test("it is one word that shells and conf files leave alone", () => {
  expect(formatJoinToken(makeJoinToken(fingerprint))).toMatch(/^[A-Za-z0-9_-]+$/);
});

test("cut short, made longer or of another kind it is none", () => {
  const text = formatJoinToken(makeJoinToken(fingerprint));
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.string({ minLength: 1 }), (at, more) => {
      expect(parseJoinToken(text.slice(0, at))).toBeUndefined();
      expect(parseJoinToken(text + more)).toBeUndefined();
    }),
  );
  expect(parseJoinToken(text.replace("rp1_", "rp2_"))).toBeUndefined();
});

test("the ring keeps the SHA-256 of the secret", () => {
  const { secret } = makeJoinToken(fingerprint);
  expect(secretHash(secret)).toBe(createHash("sha256").update(secret).digest("hex"));
});
