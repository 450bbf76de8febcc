/**
 * A POP3 session beside a model of RFC 1939: each line has one reply, numbers stay fixed, and
 * nothing is removed but by QUIT in the transaction state, and then exactly what was marked.
 */
import fc from "fast-check";
import type { Effect, Input } from "../../src/pop3/dialogue.js";
import { defaultLimits } from "../../src/pop3/options.js";
import { Pop3Session } from "../../src/pop3/session.js";
import { createPop3Server, type Pop3Server } from "../../src/pop3/index.js";
import { MemoryMaildrops } from "../transcripts/pop3-support.js";
import { exchange } from "./exchange.js";
import { check, fuzzer } from "./fuzzer.js";
import { cutAt, cuts, latin1, mutated, tokenSoup } from "./octets.js";

const words = [
  ...["USER alice", "PASS secret", "USER", "PASS", "AUTH PLAIN", "AUTH PLAIN AGFsaWNlAHNlY3JldA=="],
  ...[
    "AGFsaWNlAHNlY3JldA==",
    "*",
    "=",
    "STAT",
    "LIST",
    "UIDL",
    "LIST 1",
    "UIDL 2",
    "RETR 1",
    "RETR 3",
  ],
  ...[
    "DELE 1",
    "DELE 2",
    "DELE 3",
    "DELE 4",
    "RSET",
    "NOOP",
    "TOP 1 0",
    "TOP 2 99",
    "CAPA",
    "QUIT",
  ],
  ...[
    "UTF8",
    "LANG *",
    "STLS",
    "AUTH SCRAM-SHA-256",
    "AUTH SCRAM-SHA-256 biws",
    "APOP a b",
    "",
    " ",
    "RETR 0",
    "RETR -1",
    "DELE 99999999999999999999",
  ],
  ...["\0", "\xff", "RETR 1 1", "TOP 1", "retr 2", "Dele 2", "QUIT x"],
];
const line = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...words) },
  { weight: 1, arbitrary: mutated(words, words, { editsMax: 3, octetsMax: 300 }).map(latin1) },
);
const lines = fc.array(line, { maxLength: 40 });
const messages = [
  { uid: "a", octets: 10 },
  { uid: "b", octets: 200 },
  { uid: "c", octets: 3 },
];

export const pop3Session = fuzzer({
  name: "pop3-session",
  testRuns: 1_500,
  inputs: fc.record({ lines, answers: fc.array(fc.nat(5), { maxLength: 20 }) }),
  run({ lines: said, answers }) {
    const session = new Pop3Session(
      {
        capabilities: () => ["TOP"],
        authMethods: ["USER", "PLAIN", "SCRAM-SHA-256"],
        limits: defaultLimits,
        canSecure: true,
      },
      { secure: false, plaintextInClear: true },
    );
    const model = new Model();
    let answer = 0;
    const choice = () => answers[answer++ % Math.max(answers.length, 1)] ?? 0;
    for (const text of said.map((one) => one.replaceAll("\n", ""))) {
      if (session.wants !== "line") break;
      const statuses: string[] = [];
      const queue: Effect[] = [...session.step({ kind: "line", text })];
      for (let effect = queue.shift(); effect; effect = queue.shift()) {
        const reply = model.effect(effect, text, statuses, choice);
        if (reply) queue.push(...session.step(reply));
      }
      check(statuses.length === 1, () => `${statuses.length} replies to ${JSON.stringify(text)}`);
      check(isReady(session), () => `waits for more after ${JSON.stringify(text)}`);
      model.check(text, statuses[0] ?? "");
    }
  },
});

const isReady = (session: Pop3Session): boolean => session.wants !== "answer";

/** RFC 1939 §5 in a few lines. */
class Model {
  #loggedIn = false;
  #secure = false;
  #marked = new Set<number>();
  #transmitting = false;
  /** The line was part of a SASL exchange, whatever else it looks like. */
  #exchanging = false;

  /** Takes one effect of the session; the answer, if it wants one. */
  effect(
    effect: Effect,
    line: string,
    statuses: string[],
    choice: () => number,
  ): Input | undefined {
    switch (effect.kind) {
      case "reply":
        statuses.push(effect.text);
        return undefined;
      case "listing":
        statuses.push([...effect.pieces].join(""));
        return undefined;
      case "authenticate":
        check(!this.#loggedIn, () => "a login after the login");
        return this.#authenticate(choice());
      case "saslBegin":
      case "saslRespond":
        check(!this.#loggedIn, () => "a login after the login");
        this.#exchanging = true;
        return this.#respond(choice());
      case "startTls":
        check(!this.#loggedIn && !this.#secure, () => "TLS where it can't begin");
        this.#secure = true;
        return { kind: "secured" };
      case "open":
        check(
          this.#loggedIn && !this.#marked.has(effect.index),
          () => "reads what is not to be had",
        );
        check(effect.index < messages.length, () => "reads beyond the end");
        return choice() === 0 ? { kind: "openFailed" } : { kind: "opened", octets: 3 };
      case "transmit":
        this.#transmitting = true;
        return { kind: "transmitted" };
      case "commit": {
        check(/^quit *$/i.test(line) && this.#loggedIn, () => `removes because of ${line}`);
        const marked = [...this.#marked].sort((a, b) => a - b);
        check(String(effect.removed) === String(marked), () => `removes ${effect.removed}`);
        const answer = choice() < 3 ? "removed" : "tempfail";
        return {
          kind: "committed",
          answer: answer === "removed" ? { kind: "removed" } : { kind: "tempfail", why: "disk" },
        };
      }
      case "release":
      case "close":
        return undefined;
    }
  }

  #authenticate(choice: number): Input {
    if (choice > 1) {
      this.#loggedIn = true;
      return { kind: "authenticated", messages };
    }
    return { kind: "refused", refusal: { kind: choice === 0 ? "denied" : "tempfail" } };
  }

  #respond(choice: number): Input {
    if (choice === 5) return { kind: "malformed" };
    return choice > 2
      ? { kind: "challenge", data: Buffer.from("more") }
      : this.#authenticate(choice);
  }

  /** The reply to a line, held against what the model knows. */
  check(line: string, status: string): void {
    const isGood =
      /^(?:\+OK|-ERR)(?: [\x20-\x7e]*)?\r\n/.test(status) || /^\+ [\w+/=]*\r\n$/.test(status);
    check(isGood, () => `no status: ${JSON.stringify(status)}`);
    if (this.#exchanging) {
      this.#exchanging = false;
      return;
    }
    const isOk = status.startsWith("+OK");
    const isMultiline = isOk && (/^(?:LIST|UIDL) *$/i.test(line) || /^capa *$/i.test(line));
    check(
      isMultiline ? status.endsWith("\r\n.\r\n") : status.indexOf("\r\n") === status.length - 2,
      () => `${JSON.stringify(line)}: ${JSON.stringify(status)}`,
    );
    if (!this.#loggedIn || !isOk) return;
    if (this.#transmitting) {
      this.#transmitting = false;
      return;
    }
    const [, dele] = /^dele 0*(\d+) *$/i.exec(line) ?? [];
    if (dele !== undefined) {
      check(!this.#marked.has(Number(dele) - 1), () => "marked twice");
      this.#marked.add(Number(dele) - 1);
    }
    if (/^rset *$/i.test(line)) this.#marked.clear();
    const kept = messages.filter((_, index) => !this.#marked.has(index));
    const octets = kept.reduce((sum, message) => sum + message.octets, 0);
    if (/^stat *$/i.test(line)) {
      check(status === `+OK ${kept.length} ${octets}\r\n`, () => `STAT: ${status}`);
    }
    if (/^list *$/i.test(line)) {
      const listed = status.split("\r\n").slice(1, -2);
      check(listed.length === kept.length, () => `LIST: ${status}`);
    }
  }
}

const mails = [
  "Subject: 1\r\n\r\nhello\r\n.\r\n..\r\n",
  "no end of line",
  `Subject: 3\r\n\r\n${".x\r\n".repeat(200)}`,
];
const drops = new MemoryMaildrops();
let server: Pop3Server;
let port = 0;

/** The whole server: what it says does not depend on how the client's octets were cut. */
export const pop3Server = fuzzer({
  name: "pop3-server",
  testRuns: 120,
  inputs: fc.record({
    octets: fc.oneof(
      lines.map((all) => new Uint8Array(Buffer.from(`${all.join("\r\n")}\r\n`, "latin1"))),
      tokenSoup([...words.map((word) => `${word}\r\n`), "\n", "\r", "x".repeat(600)]),
      mutated(
        ["USER alice\r\nPASS secret\r\nLIST\r\nRETR 1\r\nTOP 3 2\r\nDELE 2\r\nUIDL\r\nQUIT\r\n"],
        words,
      ),
    ),
    cuts,
  }),
  async open() {
    server = createPop3Server({ onAuth: drops.onAuth });
    ({ port } = await server.listen({ port: 0, host: "127.0.0.1" }));
  },
  close: () => server.close(),
  async run({ octets, cuts: at }) {
    const outcomes: string[] = [];
    for (const pieces of [cutAt(octets, []), cutAt(octets, at)]) {
      drops.add("alice", "secret", mails);
      const released = drops.released;
      const said = await exchange(port, pieces);
      while (drops.open.size > 0) await new Promise((resolve) => setImmediate(resolve));
      const left = drops.mails.get("alice")?.length ?? 0;
      check(drops.released - released <= 1, () => "given up more than once");
      if (left < mails.length) {
        check(/\n\+OK signing off, \d removed\r\n$/.test(said), () => "removed without a QUIT");
      }
      outcomes.push(`${said} and ${left} mails`);
    }
    const [whole, cut] = outcomes;
    check(
      whole === cut,
      () => `cut differently: ${JSON.stringify(cut)}, not ${JSON.stringify(whole)}`,
    );
  },
});
