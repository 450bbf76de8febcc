import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { login, oauthbearer, plain, scram, scramVerifier, xoauth2 } from "./index.js";
import type { Mechanism } from "./mechanism.js";
import { prepareOpaque } from "./opaque-string.js";
import { FakeVerifier, type Known, type Outcome } from "./testing.js";

// The token of RFC 7628 §4.1.
const token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
let known: Known = { username: "tim", password: "tanstaaftanstaaf", token };
let fake: FakeVerifier;

beforeAll(async () => {
  const verifier = await scramVerifier("pencil", { salt: Buffer.alloc(16, 7), iterations: 4_096 });
  known = { ...known, verifier };
});
beforeEach(() => {
  fake = new FakeVerifier(known);
});

type Line = string | Buffer | undefined;

async function dialogue(exchange: Mechanism<Outcome>, ...lines: readonly Line[]) {
  const said: string[] = [];
  for (const line of lines) {
    const data = typeof line === "string" ? Buffer.from(line) : line;
    const reply = await exchange.respond(data);
    if (reply.kind === "challenge") said.push(reply.data.toString());
    else return [...said, reply.kind === "done" ? `done: ${reply.result}` : "malformed"];
  }
  return said;
}

describe("PLAIN, RFC 4616", () => {
  test.each([
    ["\0tim\0tanstaaftanstaaf", "granted", "|tim|tanstaaftanstaaf"],
    ["Ursel\0tim\0tanstaaftanstaaf", "granted", "Ursel|tim|tanstaaftanstaaf"],
    ["\0tim\0wrong", "denied", "|tim|wrong"],
    ["\0tim\0pass\u00e4ßw€rd😀", "denied", "|tim|pass\u00e4ßw€rd😀"],
  ])("%j: %s", async (message, outcome, asks) => {
    expect(await dialogue(plain(fake), message)).toEqual([`done: ${outcome}`]);
    expect(await dialogue(plain(fake), undefined, message)).toEqual(["", `done: ${outcome}`]);
    expect(fake.asked).toEqual([asks, asks]);
  });

  test.each<[Line]>([
    [""],
    ["tim"],
    ["tim\0secret"],
    ["\0\0secret"],
    ["\0tim\0"],
    ["\0tim\0a\0b"],
    [Buffer.from("\0tim\0\xff\xfe", "latin1")],
    [`\0${"t".repeat(513)}\0secret`],
    [`\0tim\0${"s".repeat(1_025)}`],
    [Buffer.alloc(20_000, "x")],
  ])("%j is malformed", async (message) => {
    expect(await dialogue(plain(fake), message)).toEqual(["malformed"]);
    expect(fake.asked).toEqual([]);
  });
});

describe("LOGIN", () => {
  test("asks for the name and then for the password", async () => {
    const says = ["Username:", "Password:", "done: granted"];
    const lines = [undefined, "tim", "tanstaaftanstaaf"];
    expect(await dialogue(login(fake), ...lines)).toEqual(says);
    expect(await dialogue(login(fake), ...lines.slice(1))).toEqual(says.slice(1));
  });

  test.each<[readonly Line[]]>([
    [[undefined, ""]],
    [[undefined, "tim", ""]],
    [[undefined, "tim", undefined]],
    [[undefined, "t\0m"]],
    [[undefined, Buffer.from("\xff", "latin1")]],
  ])("%j is malformed", async (lines) => {
    expect((await dialogue(login(fake), ...lines)).at(-1)).toBe("malformed");
    expect(fake.asked).toEqual([]);
  });
});

const oauth = (auth: string, header = "n,a=user@example.com,") =>
  `${header}\x01host=server.example.com\x01port=143\x01${auth}\x01\x01`;

describe("OAUTHBEARER, RFC 7628", () => {
  test("the example of §4.1", async () => {
    expect(await dialogue(oauthbearer(fake), oauth(`auth=Bearer ${token}`))).toEqual([
      "done: granted",
    ]);
    expect(fake.asked).toEqual([`user@example.com|${token}`]);
  });

  test("the failed exchange of §4.3: an error, a dummy, the end", async () => {
    const said = await dialogue(oauthbearer(fake), oauth("auth=Bearer nope"), "\x01");
    expect(JSON.parse(said[0] ?? "")).toMatchObject({ status: "invalid_token" });
    expect(said.slice(1)).toEqual(["done: denied"]);
  });

  test.each([["auth="], ["auth=Basic abc"], ["auth=Bearer a b"], ["scope=mail"]])(
    "%j is no token: as a wrong one, and nobody is asked",
    async (auth) => {
      const said = await dialogue(oauthbearer(fake), oauth(auth), "\x01");
      expect(said.at(-1)).toBe("done: denied");
      expect(fake.asked).toEqual([]);
    },
  );

  test("what can't be told now is not called an invalid token", async () => {
    fake.instead = "tempfail";
    const said = await dialogue(oauthbearer(fake), oauth(`auth=Bearer ${token}`));
    expect(said).toEqual(["done: tempfail"]);
  });

  test.each([
    ["\x01"],
    [""],
    [`n,a=user@example.com,auth=Bearer ${token}\x01\x01`],
    [`\x01auth=Bearer ${token}\x01\x01`],
    [`n,,\x01auth=Bearer ${token}\x01`],
    [`n,,\x01auth=Bearer ${token}\x01auth=Bearer other\x01\x01`],
    [`n,,\x01auth\x01\x01`],
    [`n,,\x01a:b=c\x01\x01`],
    [`n,,\x01auth=Bearer ${token}\x01\x01more`],
  ])("%j is malformed", async (message) => {
    expect(await dialogue(oauthbearer(fake), message)).toEqual(["malformed"]);
    expect(fake.asked).toEqual([]);
  });
});

describe("XOAUTH2", () => {
  const message = (given: string) => `user=someuser@example.com\x01auth=Bearer ${given}\x01\x01`;

  test("is granted; an error is answered with nothing", async () => {
    expect(await dialogue(xoauth2(fake), message(token))).toEqual(["done: granted"]);
    const said = await dialogue(xoauth2(fake), message("nope"), "");
    expect(JSON.parse(said[0] ?? "")).toMatchObject({ status: "401", schemes: "bearer" });
    expect(said.slice(1)).toEqual(["done: denied"]);
    expect(fake.asked).toEqual([`someuser@example.com|${token}`, "someuser@example.com|nope"]);
  });

  test.each([[`auth=Bearer ${token}\x01\x01`], ["user=\x01auth=Bearer x\x01\x01"], ["user=x"]])(
    "%j is malformed",
    async (text) => {
      expect(await dialogue(xoauth2(fake), text)).toEqual(["malformed"]);
    },
  );
});

describe("whatever a client sends", () => {
  const makers = [plain, login, oauthbearer, xoauth2, (v: FakeVerifier) => scram(v, () => "n")];
  const noise = fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets));
  /** Pieces of the grammars, put together in any way. */
  const almost = fc
    .array(
      fc.constantFrom(
        ..."\0 \x01 , = n y p a r c tim n,, n,a=tim, n=tim r=abc c=biws, p= auth=Bearer host= user=".split(
          " ",
        ),
        ...["\0", "\x01", "\x01\x01", "tanstaaf", "wrong", "p=tls-unique,,", "s=,i=1"],
      ),
      { maxLength: 12 },
    )
    .map((pieces) => Buffer.from(pieces.join("")));
  const line = fc.oneof(noise, almost, fc.constant(Buffer.alloc(0)));

  test("never throws, is never granted, and ends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...makers),
        fc.boolean(),
        fc.array(line, { minLength: 6, maxLength: 6 }),
        async (make, initial, lines) => {
          const said = await dialogue(
            make(new FakeVerifier(known)),
            ...(initial ? [] : [undefined]),
            ...lines,
          );
          expect(["malformed", "done: denied"]).toContain(said.at(-1));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test("nothing follows the end", async () => {
    for (const make of makers) {
      const exchange = make(fake);
      await exchange.respond(Buffer.from([0xff]));
      const again = await exchange.respond(Buffer.from("\0tim\0tanstaaftanstaaf"));
      expect(again).toEqual({ kind: "malformed" });
    }
  });
});

describe("passwords are compared as OpaqueString, RFC 8265 §4.3", () => {
  test.each([
    ["correct horse battery staple", "correct horse battery staple"],
    ["Correct Horse Battery Staple", "Correct Horse Battery Staple"],
    ["πßå", "πßå"],
    ["Jack of ♦s", "Jack of ♦s"],
    ["foo\u1680bar", "foo bar"],
    ["a\u030a", "\u00e5"],
    ["", undefined],
    ["my cat is a \u0009by", undefined],
    ["\ud800", undefined],
  ])("%j: %j", (text, prepared) => {
    expect(prepareOpaque(text)).toBe(prepared);
  });
});
