import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { scram } from "./scram.js";
import { type ScramVerifier, scramVerifier } from "./scram-keys.js";
import { FakeVerifier } from "./testing.js";

// RFC 7677 §3.
const serverNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const clientNonce = "rOprNGfwEbeRWgbNEkqO";
const first = `n,,n=user,r=${clientNonce}`;
const serverFirst = `r=${clientNonce}${serverNonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
const proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const final = `c=biws,r=${clientNonce}${serverNonce},p=${proof}`;
const signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

let verifier: ScramVerifier;
let fake: FakeVerifier;

beforeAll(async () => {
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  verifier = await scramVerifier("pencil", { salt, iterations: 4_096 });
});
beforeEach(() => {
  fake = new FakeVerifier({ username: "user", verifier });
});

/** What the server says to each line; the last one that was answered ends it. */
async function dialogue(...lines: readonly (string | undefined)[]): Promise<string[]> {
  const exchange = scram(fake, () => serverNonce);
  const said: string[] = [];
  for (const line of lines) {
    const reply = await exchange.respond(line === undefined ? undefined : Buffer.from(line));
    if (reply.kind === "challenge") said.push(reply.data.toString());
    else return [...said, reply.kind === "done" ? `done: ${reply.result}` : "malformed"];
  }
  return said;
}

/** A client's last message, by the formulas of RFC 5802 §3. */
function finalFor(
  opening: string,
  password: string,
  options: { binding?: string; nonce?: string } = {},
): string {
  const [, header = "", bare = ""] = /^([^,]*,[^,]*,)(.*)$/.exec(opening) ?? [];
  const salt = Buffer.from(verifier.salt, "base64");
  const salted = pbkdf2Sync(password, salt, verifier.iterations, 32, "sha256");
  const key = createHmac("sha256", salted).update("Client Key").digest();
  const stored = createHash("sha256").update(key).digest();
  const binding = options.binding ?? Buffer.from(header).toString("base64");
  const without = `c=${binding},r=${options.nonce ?? clientNonce + serverNonce}`;
  const message = `${bare},${serverFirst},${without}`;
  const sign = createHmac("sha256", stored).update(message).digest();
  return `${without},p=${Buffer.from(key.map((o, n) => o ^ (sign[n] ?? 0))).toString("base64")}`;
}

describe("SCRAM-SHA-256", () => {
  test("the example of RFC 7677 §3, and an empty line before it is granted", async () => {
    expect(await dialogue(first, final, "")).toEqual([serverFirst, signature, "done: granted"]);
    expect(await dialogue(undefined, first, final, "")).toEqual([
      "",
      serverFirst,
      signature,
      "done: granted",
    ]);
  });

  test("what is kept of the password is neither the password nor enough to log in", () => {
    expect(verifier.storedKey).not.toBe(verifier.serverKey);
    expect(Buffer.from(verifier.storedKey, "base64")).toHaveLength(32);
  });

  test("is not granted before the client has answered the signature", async () => {
    expect(await dialogue(first, final)).toEqual([serverFirst, signature]);
    expect(await dialogue(first, final, "x")).toEqual([serverFirst, signature, "malformed"]);
    expect((await dialogue(first, final, undefined)).at(-1)).toBe("malformed");
  });

  test.each([
    ["another password", finalFor.bind(undefined, first, "Pencil", {}), "done: denied"],
    ["another nonce", () => finalFor(first, "pencil", { nonce: "other" }), "done: denied"],
    ["its own alone", () => finalFor(first, "pencil", { nonce: clientNonce }), "done: denied"],
    ["another GS2 header", () => finalFor(first, "pencil", { binding: "eSws" }), "done: denied"],
    ["a proof that is too short", () => final.replace(/p=.*/, "p=AAAA"), "malformed"],
    ["no proof", () => final.replace(/,p=.*/, ""), "malformed"],
    ["nothing", () => "", "malformed"],
    ["something else", () => "\ud800", "malformed"],
  ])("%s", async (_, make, says) => {
    expect(await dialogue(first, make())).toEqual([serverFirst, says]);
  });

  test("a client that could bind to the channel, and sees that the server can't", async () => {
    const opening = `y,,n=user,r=${clientNonce}`;
    expect((await dialogue(opening, finalFor(opening, "pencil"), "")).at(-1)).toBe("done: granted");
    // A header that somebody changed on the way does not match what the client signed.
    expect(await dialogue(opening, final)).toEqual([serverFirst, "done: denied"]);
  });

  test("a client that insists on channel binding is denied, and nothing is checked", async () => {
    const opening = `p=tls-exporter,,n=user,r=${clientNonce}`;
    expect(await dialogue(opening)).toEqual(["done: denied"]);
    expect(fake.asked).toEqual([]);
  });

  test.each([
    [`n,a=other,n=user,r=x`, "other|user"],
    [`n,,n=a=2Cb=3Dc,r=x`, "|a,b=c"],
    [`n,,n=user,r=x,f=later`, "|user"],
  ])("%s asks for %s", async (opening, asks) => {
    await dialogue(opening);
    expect(fake.asked).toEqual([asks]);
  });

  test.each([
    ["n,,n=us=er,r=x"],
    ["n,,n=user"],
    ["n,,r=x,n=user"],
    ["n,,n=,r=x"],
    ["n,,n=user,r="],
    ["n,,m=ext,n=user,r=x"],
    ["n,,n=user,r=a b"],
    ["n,,n=user,r=x\0"],
    ["x,,n=user,r=x"],
    ["n,b=user,n=user,r=x"],
    ["n=user,r=x"],
    [`n,,n=${"u".repeat(513)},r=x`],
    [`n,,n=user,r=${"x".repeat(513)}`],
    [""],
  ])("%j is malformed", async (opening) => {
    expect(await dialogue(opening)).toEqual(["malformed"]);
    expect(fake.asked).toEqual([]);
  });

  test("an account that can't be read now", async () => {
    fake = new FakeVerifier({ username: "user" });
    expect(await dialogue(first)).toEqual(["done: tempfail"]);
  });
});
