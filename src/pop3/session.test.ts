import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Effect, Input } from "./dialogue.js";
import { LineReader } from "./lines.js";
import { defaultLimits } from "./options.js";
import { decodePlain } from "./sasl.js";
import type { AuthorizationOptions, Protection } from "./authorization.js";
import { Pop3Session } from "./session.js";

const options: AuthorizationOptions = {
  capabilities: ({ methods, stls }) => ["TOP", ...methods, ...(stls ? ["STLS"] : [])],
  authMethods: ["USER", "SCRAM-SHA-256", "PLAIN"],
  limits: defaultLimits,
  canSecure: true,
};
const trusted: Protection = { secure: false, plaintextInClear: true };
const inClear: Protection = { secure: false, plaintextInClear: false };
const messages = [100, 200, 300].map((octets, at) => ({ uid: `uid-${at}`, octets }));

function answerTo(effect: Effect): Input | undefined {
  switch (effect.kind) {
    case "authenticate":
      return effect.credentials.password === "secret"
        ? { kind: "authenticated", messages }
        : { kind: "refused", refusal: { kind: "denied" } };
    case "saslBegin":
    case "saslRespond":
      return answerToSasl(effect.data);
    case "startTls":
      return { kind: "secured" };
    case "open":
      return { kind: "opened", octets: messages[effect.index]?.octets ?? 0 };
    case "transmit":
      return { kind: "transmitted" };
    case "commit":
      return { kind: "committed", answer: { kind: "removed" } };
    default:
      return undefined;
  }
}

/** A PLAIN of one secret. */
function answerToSasl(data: Buffer | undefined): Input {
  if (data === undefined) return { kind: "challenge", data: Buffer.alloc(0) };
  const plain = decodePlain(data);
  if (plain === undefined) return { kind: "malformed" };
  if (plain.password === "secret") return { kind: "authenticated", messages };
  return { kind: "refused", refusal: { kind: "denied" } };
}

/** Does what a server does; each reply is one string, a message's octets are `<message>`. */
class Driver {
  readonly session: Pop3Session;
  readonly reader = new LineReader();
  readonly replies: string[] = [];
  readonly effects: Effect[] = [];
  lines = 0;

  constructor(protection = trusted, changed: Partial<AuthorizationOptions> = {}) {
    this.session = new Pop3Session({ ...options, ...changed }, protection);
  }

  feed(octets: string): this {
    this.reader.push(Buffer.from(octets, "latin1"));
    while (this.session.wants === "line") {
      const line = this.reader.next(this.session.lineOctetsMax);
      if (line === undefined) break;
      this.lines++;
      this.input(line);
    }
    return this;
  }

  input(input: Input): this {
    const effects = [...this.session.step(input)];
    for (let effect = effects.shift(); effect; effect = effects.shift()) {
      this.effects.push(effect);
      if (effect.kind === "reply") this.replies.push(effect.text);
      if (effect.kind === "listing") this.replies.push([...effect.pieces].join(""));
      if (effect.kind === "transmit") this.replies.push(`${this.replies.pop()}<message>.\r\n`);
      const answer = answerTo(effect);
      if (answer) effects.push(...this.session.step(answer));
    }
    return this;
  }

  loggedIn(): this {
    this.feed("USER alice\r\nPASS secret\r\n");
    this.replies.length = 0;
    this.effects.length = 0;
    return this;
  }

  kinds(): string[] {
    return this.effects.map((effect) => effect.kind);
  }
}

const ask = (octets: string) => new Driver().loggedIn().feed(octets).replies;

describe("AUTHORIZATION, RFC 1939 §4", () => {
  test("the password is all behind the first space", () => {
    const driver = new Driver().feed("USER alice\r\nPASS  with spaces \r\n");
    expect(driver.effects).toContainEqual({
      kind: "authenticate",
      credentials: { method: "USER", username: "alice", password: " with spaces " },
    });
  });

  test("names and passwords are UTF-8, RFC 6856 §2.2, also one that ends in 0xA0", () => {
    const utf8 = (text: string) => Buffer.from(text).toString("latin1");
    const driver = new Driver().feed(`UTF8\r\nUSER ${utf8("voilà")}\r\nPASS ${utf8("é à")}\r\n`);
    expect(driver.effects).toContainEqual({
      kind: "authenticate",
      credentials: { method: "USER", username: "voilà", password: "é à" },
    });
  });

  test("PASS is good only directly behind USER", () => {
    const driver = new Driver().feed("PASS secret\r\nUSER a\r\nCAPA\r\nPASS secret\r\n");
    expect(driver.kinds()).not.toContain("authenticate");
    expect(driver.replies.at(-1)).toBe("-ERR USER first\r\n");
  });

  test("a wrong password and bad UTF-8 are told the same", () => {
    const driver = new Driver().feed("USER a\r\nPASS wrong\r\nUSER a\r\nPASS \xff\r\n");
    const denied = "-ERR [AUTH] wrong name or password\r\n";
    expect(driver.replies.filter((reply) => reply === denied)).toHaveLength(2);
  });

  test("too many tries are no wrong password: [SYS/TEMP], never [AUTH] (RFC 3206 §4, §5)", () => {
    const driver = new Driver();
    driver.session.step({ kind: "line", text: "USER a" });
    driver.session.step({ kind: "line", text: "PASS b" });
    driver.input({ kind: "refused", refusal: { kind: "throttled", retryAfterMs: 1_500 } });
    expect(driver.replies.at(-1)).toMatch(/^-ERR \[SYS\/TEMP\] .* again in 2 s\r\n$/);
  });

  test.each([
    ["not base64", "AUTH PLAIN !!!!\r\n"],
    ["lone =, an empty response", "AUTH PLAIN =\r\n"],
    ["no NUL", `AUTH PLAIN ${Buffer.from("alice").toString("base64")}\r\n`],
    ["too many NUL", `AUTH PLAIN ${Buffer.from("\0a\0b\0c").toString("base64")}\r\n`],
    ["no password", `AUTH PLAIN ${Buffer.from("\0a\0").toString("base64")}\r\n`],
    ["not UTF-8", `AUTH PLAIN ${Buffer.from("\0a\0\xff", "latin1").toString("base64")}\r\n`],
    ["bad length", "AUTH PLAIN\r\nAGFsaWNlAHNlY3JldA\r\n"],
  ])("a malformed SASL response: %s", (_, octets) => {
    const driver = new Driver().feed(octets);
    expect(driver.replies.at(-1)).toBe("-ERR malformed SASL response\r\n");
    expect(driver.session.loggedIn).toBe(false);
    expect(driver.feed("USER alice\r\nPASS secret\r\n").session.loggedIn).toBe(true);
  });

  // RFC 5034 §4 wants an initial response to fit a command line; clients with tokens don't care.
  test("a SASL response may be 12 KB long, an initial one too; another command may not", () => {
    const long = Buffer.from(`\0alice\0${"x".repeat(9_000)}`).toString("base64");
    const wrong = "-ERR [AUTH] wrong name or password\r\n";
    expect(new Driver().feed(`AUTH PLAIN\r\n${long}\r\n`).replies.at(-1)).toBe(wrong);
    expect(new Driver().feed(`auth PLAIN ${long}\r\n`).replies).toEqual([wrong]);
    for (const verb of ["USER", "PASS", "AUTHX", "NOOP"]) {
      const replies = new Driver().feed(`${verb} ${long}\r\n`).replies;
      expect(replies).toEqual(["-ERR line too long\r\n"]);
    }
    const line = `RETR ${"1".repeat(600)}\r\n`;
    expect(new Driver().loggedIn().feed(line).replies).toEqual(["-ERR line too long\r\n"]);
    const longer = new Driver().feed(`AUTH PLAIN\r\n${"A".repeat(20_000)}\r\nUSER a\r\n`);
    expect(longer.replies).toEqual(["+ \r\n", "-ERR line too long\r\n", "+OK send PASS\r\n"]);
  });

  test.each([
    ["failed logins", "USER a\r\nPASS b\r\n", defaultLimits.authFailuresMax * 2],
    ["commands without a login", "NOOP\r\n", defaultLimits.unauthenticatedCommandsMax + 1],
    ["errors", "XYZZY\r\n", defaultLimits.errorsMax],
  ])("ends after too many %s", (_, octets, replies) => {
    const driver = new Driver().feed(octets.repeat(100));
    expect(driver.replies).toHaveLength(replies);
    expect(driver.effects.at(-1)).toEqual({ kind: "close", reason: "misbehaved" });
  });
});

describe("SASL, RFC 5034 §4", () => {
  const nothing = Buffer.alloc(0);
  const challenge = (text: string): Input => ({ kind: "challenge", data: Buffer.from(text) });

  test("challenges and responses go on up to an answer", () => {
    const session = new Pop3Session(options, trusted);
    const line = (text: string) => session.step({ kind: "line", text });
    expect(line("AUTH scram-sha-256 biws")).toEqual([
      { kind: "saslBegin", mechanism: "SCRAM-SHA-256", data: Buffer.from("n,,") },
    ]);
    const asked = { kind: "reply", text: "+ cj0x\r\n" };
    expect(session.step(challenge("r=1"))).toEqual([asked]);
    const response = { kind: "saslRespond", data: Buffer.from("c=2") };
    expect(line("Yz0y")).toEqual([response]);
    expect(session.step(challenge(""))).toEqual([{ kind: "reply", text: "+ \r\n" }]);
    // A response of no octets is an empty line, which as a command would be an error.
    expect(line("")).toEqual([{ kind: "saslRespond", data: nothing }]);
    session.step({ kind: "authenticated", messages });
    expect(session.loggedIn).toBe(true);
  });

  test.each([
    ["without an initial response", "AUTH SCRAM-SHA-256", undefined],
    ["with one of no octets", "AUTH SCRAM-SHA-256 =", nothing],
  ])("%s", (_, text, data) => {
    const [effect] = new Pop3Session(options, trusted).step({ kind: "line", text });
    expect(effect).toEqual({
      kind: "saslBegin",
      mechanism: "SCRAM-SHA-256",
      ...(data && { data }),
    });
  });

  test("* cancels; what follows is a command again", () => {
    const driver = new Driver().feed("AUTH PLAIN\r\n*\r\nUSER alice\r\nPASS secret\r\n");
    expect(driver.replies[1]).toBe("-ERR cancelled\r\n");
    expect(driver.session.loggedIn).toBe(true);
  });

  test.each(["AUTH LOGIN", "AUTH CRAM-MD5", "AUTH __proto__", "AUTH USER"])(
    "%s is not offered here, and no exchange is begun",
    (line) => {
      const driver = new Driver().feed(`${line}\r\n`);
      expect(driver.replies).toEqual(["-ERR not offered\r\n"]);
      expect(driver.kinds()).toEqual(["reply"]);
    },
  );
});

describe("STLS, RFC 2595 §4", () => {
  const capa = (driver: Driver) =>
    driver.feed("CAPA\r\n").replies.at(-1)?.split("\r\n").slice(1, -2);

  test("passwords in clear are refused, not offered, and not asked for (P11)", () => {
    const driver = new Driver(inClear);
    expect(capa(driver)).toEqual(["TOP", "SCRAM-SHA-256", "STLS"]);
    driver.replies.length = 0;
    const plain = Buffer.from("\0alice\0secret").toString("base64");
    driver.feed(`USER alice\r\nPASS secret\r\nAUTH PLAIN\r\nAUTH PLAIN ${plain}\r\n`);
    expect(driver.replies).toHaveLength(4);
    // RFC 3206 §5: [AUTH] is for wrong credentials, and nobody has looked at these.
    for (const reply of driver.replies) expect(reply).toMatch(/^-ERR [^[].*STLS/);
    expect(driver.session.loggedIn).toBe(false);
    expect(driver.kinds()).not.toContain("authenticate");
    expect(driver.kinds()).not.toContain("saslBegin");
  });

  test("behind it passwords are taken, STLS is no longer offered", () => {
    const driver = new Driver(inClear).feed("STLS\r\n");
    expect(driver.kinds()).toEqual(["reply", "startTls"]);
    expect(capa(driver)).toEqual(["TOP", "USER", "SCRAM-SHA-256", "PLAIN"]);
    driver.feed("STLS\r\nUSER alice\r\nPASS secret\r\n");
    expect(driver.replies.at(-3)).toMatch(/^-ERR /);
    expect(driver.session.loggedIn).toBe(true);
  });

  test("a USER before it is forgotten", () => {
    const driver = new Driver().feed("USER alice\r\nSTLS\r\nPASS secret\r\n");
    expect(driver.replies.at(-1)).toBe("-ERR USER first\r\n");
  });

  test("a logged in session has none, and keeps its state", () => {
    const driver = new Driver().loggedIn().feed("DELE 1\r\nSTLS\r\nSTAT\r\n");
    expect(driver.kinds()).not.toContain("startTls");
    expect(driver.replies.slice(1)).toEqual(["-ERR logged in already\r\n", "+OK 2 500\r\n"]);
    expect(capa(driver)).not.toContain("STLS");
  });

  test("without a certificate it is an error", () => {
    const driver = new Driver(inClear, { canSecure: false }).feed("STLS\r\nUSER a\r\nSTLS x\r\n");
    for (const reply of driver.replies) expect(reply).toMatch(/^-ERR /);
    expect(driver.kinds()).not.toContain("startTls");
    expect(capa(driver)).toEqual(["TOP", "SCRAM-SHA-256"]);
  });

  test("with TLS from the first octet all is offered but STLS", () => {
    const driver = new Driver({ secure: true, plaintextInClear: false });
    expect(capa(driver)).toEqual(["TOP", "USER", "SCRAM-SHA-256", "PLAIN"]);
  });
});

describe("TRANSACTION, RFC 1939 §5", () => {
  test.each(["0", "-1", "4", "1000", "100000000000000000000", "", "x", "1x", "1 2", "0x1", "1e0"])(
    "RETR, DELE, TOP of %j is an error and changes nothing (P8)",
    (number) => {
      const driver = new Driver().loggedIn();
      driver.feed(`RETR ${number}\r\nDELE ${number}\r\nTOP ${number} 1\r\nSTAT\r\n`);
      const [retr, dele, top, stat] = driver.replies;
      for (const reply of [retr, dele, top]) expect(reply).toMatch(/^-ERR /);
      expect(stat).toBe("+OK 3 600\r\n");
    },
  );

  test.each(["0", "-1", "4", "100000000000000000000", "x", "1 2"])("LIST and UIDL of %j", (n) => {
    for (const reply of ask(`LIST ${n}\r\nUIDL ${n}\r\n`)) expect(reply).toMatch(/^-ERR /);
  });

  test("deleted messages are not counted and numbers stay (P7)", () => {
    expect(ask("DELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\nLIST 3\r\n").slice(1)).toEqual([
      "+OK 2 400\r\n",
      "+OK 2 messages\r\n1 100\r\n3 300\r\n.\r\n",
      "+OK unique-ids follow\r\n1 uid-0\r\n3 uid-2\r\n.\r\n",
      "+OK 3 300\r\n",
    ]);
  });

  test("a deleted message can't be asked for", () => {
    const replies = ask("DELE 2\r\nRETR 2\r\nTOP 2 0\r\nLIST 2\r\nUIDL 2\r\nDELE 2\r\n");
    for (const reply of replies.slice(1))
      expect(reply).toBe("-ERR message is marked as deleted\r\n");
  });

  test("a long listing comes in pieces", () => {
    const session = new Pop3Session(options, trusted);
    session.step({ kind: "line", text: "USER alice" });
    session.step({ kind: "line", text: "PASS secret" });
    const many = Array.from({ length: 1_200 }, (_, at) => ({ uid: `u${at}`, octets: 1 }));
    session.step({ kind: "authenticated", messages: many });
    const [effect] = session.step({ kind: "line", text: "LIST" });
    const pieces = effect?.kind === "listing" ? [...effect.pieces] : [];
    expect(pieces.length).toBeGreaterThan(2);
    expect(pieces.join("").split("\r\n")).toHaveLength(1_200 + 3);
  });

  test("a message that can't be opened is an error, the session goes on", () => {
    const driver = new Driver().loggedIn();
    driver.session.step({ kind: "line", text: "RETR 1" });
    driver.input({ kind: "openFailed" }).feed("NOOP\r\n");
    expect(driver.replies[0]).toMatch(/^-ERR \[SYS\/TEMP\] /);
    expect(driver.replies[1]).toBe("+OK\r\n");
  });
});

describe("UPDATE, RFC 1939 §6", () => {
  test("QUIT commits, releases, answers, closes, in this order", () => {
    const driver = new Driver().loggedIn().feed("DELE 3\r\nDELE 1\r\nQUIT\r\n");
    expect(driver.effects).toContainEqual({ kind: "commit", removed: [0, 2] });
    expect(driver.kinds().slice(-4)).toEqual(["commit", "release", "reply", "close"]);
    expect(driver.replies.at(-1)).toMatch(/^\+OK /);
  });

  test("QUIT with nothing deleted commits nothing", () => {
    const driver = new Driver().loggedIn().feed("DELE 1\r\nRSET\r\nQUIT\r\nNOOP\r\n");
    expect(driver.kinds().slice(-3)).toEqual(["release", "reply", "close"]);
    expect(driver.kinds()).not.toContain("commit");
  });

  test("a commit that failed is told, in one line (P4)", () => {
    const driver = new Driver().loggedIn().feed("DELE 1\r\n");
    driver.session.step({ kind: "line", text: "QUIT" });
    driver.input({ kind: "committed", answer: { kind: "tempfail", why: "a\r\n+OK \0é" } });
    expect(driver.replies.at(-1)).toBe("-ERR [SYS/TEMP] nothing removed: a +OK  \r\n");
    expect(driver.session.wants).toBe("nothing");
  });

  test.each(["deadline", "shutdown"] as const)("%s removes nothing (P3)", (kind) => {
    const driver = new Driver().loggedIn().feed("DELE 1\r\n").input({ kind });
    expect(driver.kinds()).not.toContain("commit");
    expect(driver.session.wants).toBe("nothing");
    // RFC 1939 §3: the autologout sends no response.
    expect(driver.replies).toHaveLength(kind === "deadline" ? 1 : 2);
  });
});

describe("whatever a client sends", () => {
  const verbs = ["USER", "PASS", "AUTH PLAIN", "STAT", "LIST", "RETR", "DELE", "TOP", "UIDL"];
  const others = ["NOOP", "RSET", "CAPA", "UTF8", "QUIT", "APOP", "STLS", "", "__proto__", "\0"];
  const word = fc.constantFrom("", " ", "1", "2", "0", "-1", "4", "secret", "*", "=", "\xff", "\r");
  const line = fc.oneof(
    fc.tuple(fc.constantFrom(...verbs, ...others), word, word).map((words) => words.join(" ")),
    fc.constantFrom(
      "USER alice\r\nPASS secret",
      "AUTH PLAIN\r\n*",
      "x".repeat(600),
      "AUTH PLAIN =",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
  );
  const script = fc.array(fc.tuple(line, fc.constantFrom("\r\n", "\n")), { maxLength: 40 });
  const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 });

  test("each line gets one whole reply, the same however it is split (P1)", () => {
    fc.assert(
      fc.property(script, sizes, (parts, sizes) => {
        const octets = parts.flat().join("");
        const whole = new Driver().feed(octets);
        expect(whole.replies).toHaveLength(whole.lines);
        for (const reply of whole.replies) expect(reply).toMatch(/^(\+OK|-ERR|\+ )[^]*\r\n$/);
        const cut = new Driver();
        let at = 0;
        for (const size of sizes) cut.feed(octets.slice(at, (at += size)));
        expect(cut.feed(octets.slice(at)).replies).toEqual(whole.replies);
        expect(whole.kinds().filter((kind) => kind === "commit").length).toBeLessThan(2);
      }),
      { numRuns: 500 },
    );
  });
});
