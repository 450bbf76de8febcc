/**
 * The same random dialogues with our POP3 server and with Dovecot's over the same mails: equal
 * answers up to their wording, or a difference that is known and named below.
 *
 * RINGPOST_DIALOGUES=10000 plays more than the usual 500, RINGPOST_SEED=n others.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPop3Server, type Pop3Server } from "../../src/pop3/index.js";
import { type Dovecot, dovecotMissing, startDovecot } from "../support/dovecot.js";
import { dialogues, linesOf, play, type Reply, split } from "../support/pop3-dialogues.js";
import { waitUntil } from "../support/wait.js";
import { MemoryMaildrops } from "../transcripts/pop3-support.js";

const runs = Number(process.env["RINGPOST_DIALOGUES"] ?? 500);
const seed = Number(process.env["RINGPOST_SEED"] ?? 1939);
const missing = dovecotMissing();
if (missing !== undefined) process.stderr.write(`no comparison with Dovecot: ${missing}\n`);

/** Not among them: a NUL, which Dovecot serves as 0x80, and a mail without any octet. */
const mails = [
  "Subject: plain\r\n\r\none\r\ntwo\r\nthree\r\n",
  "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n...\r\nend\r\n.\r\n",
  "Subject: 8-bit \xe5\r\n\r\nbl\xe5b\xe6r \x80\xff\x85\r\n",
  "Subject: no end\r\n\r\nthe last line\r\nhas no end",
  `Subject: long lines\r\n\r\n${`.${"y".repeat(5_000)}\r\n`.repeat(3)}`,
  "Subject: header only\r\nTo: a@b\r\n",
  "\r\nbody only\r\n",
  `Subject: empty lines\r\n\r\n${"\r\n".repeat(20)}`,
].map((text) => Buffer.from(text, "latin1"));

let dovecot: Dovecot;
let server: Pop3Server;
let ours: string;
const maildrops = new MemoryMaildrops();
/** Which of `mails` an account still has: what its unique-ids are made of. */
const alive = new Map<string, readonly number[]>();

beforeAll(async () => {
  if (missing !== undefined) return;
  dovecot = await startDovecot();
  maildrops.change = (maildrop, user) => {
    const left = alive.get(user) ?? mails.map((_, index) => index);
    return {
      ...maildrop,
      messages: maildrop.messages.map(({ octets }, at) => ({ octets, uid: `mail-${left[at]}` })),
      async commit(removed, signal) {
        alive.set(
          user,
          left.filter((_, at) => !removed.includes(at)),
        );
        return maildrop.commit(removed, signal);
      },
    };
  };
  server = createPop3Server({ onAuth: maildrops.onAuth });
  const { port } = await server.listen({ port: 0, host: "127.0.0.1" });
  ours = `127.0.0.1:${port}`;
});

afterAll(async () => {
  await server?.close({ deadlineMs: 1_000 });
  await dovecot?.stop();
});

let serial = 0;

/** An account that both servers have, with the same mails, in one state. */
async function withAccount<T>(use: (user: string) => Promise<T>): Promise<T> {
  serial += 1;
  const user = `user-${serial}`;
  maildrops.add(user, dovecot.password, mails);
  dovecot.fill(user, mails);
  try {
    return await use(user);
  } finally {
    dovecot.remove(user);
    maildrops.mails.delete(user);
    maildrops.passwords.delete(user);
    alive.delete(user);
  }
}

interface Exchange {
  readonly line: string;
  /** What was sent before it, if that was taken. */
  readonly before: string;
  readonly ours: Reply;
  readonly theirs: Reply;
}

interface Known {
  readonly what: string;
  /** True for the exchange that differs in just this way. */
  readonly is: (exchange: Exchange) => boolean;
}

const refusedByUs = ({ ours, theirs }: Exchange) =>
  ours.status === "-ERR" && theirs.status === "+OK";
const withoutArguments = new Set(["STAT", "NOOP", "RSET", "QUIT", "CAPA"]);

const changing = new Set(["DELE", "RSET", "QUIT"]);

/** Mostly where Dovecot is more lenient than the standard. */
const known: readonly Known[] = [
  {
    what: 'RFC 1939 §5: "Arguments: none"',
    is: (exchange) => {
      const { verb, rest } = split(exchange.line);
      return refusedByUs(exchange) && withoutArguments.has(verb) && rest.trim() !== "";
    },
  },
  {
    what: 'RFC 1939 §3: keyword and arguments are "separated by a single SPACE character"',
    is: (exchange) =>
      refusedByUs(exchange) &&
      / {2}\d/.test(exchange.line) &&
      /^((RETR|DELE|LIST|UIDL) +\d+ *|TOP +\d+ +\d+)$/i.test(exchange.line),
  },
  {
    what: "RFC 1939 §3 says nothing of a space at the end; Dovecot minds it behind a number",
    is: ({ line, ours, theirs }) =>
      ours.status === "+OK" &&
      theirs.status === "-ERR" &&
      /^((RETR|DELE|LIST|UIDL) +\d+|TOP +\d+ +\d+) +$/i.test(line),
  },
  {
    what: "RFC 1939 §7: TOP of more lines than there are is the whole mail, however many more",
    is: ({ line, ours, theirs }) =>
      ours.status === "+OK" &&
      /^-ERR Size too large/.test(theirs.line) &&
      /^TOP +\d+ +\d{20,} *$/i.test(line),
  },
  {
    what: "RFC 1939 §7: USER has a name",
    is: (exchange) => {
      const { verb, rest } = split(exchange.line);
      return refusedByUs(exchange) && verb === "USER" && rest.trim() === "";
    },
  },
  {
    what: "RFC 5034 §4: AUTH has a mechanism (Dovecot lists them, as an older draft had it)",
    is: (exchange) => refusedByUs(exchange) && exchange.line === "AUTH",
  },
];

/** What a client understands of an answer: no wording, and a listing's unique-ids by their place. */
function meaning(line: string, reply: Reply): unknown {
  const { verb, rest } = split(line);
  const { status, body } = reply;
  if (status !== "+OK") return { status };
  switch (verb) {
    case "STAT":
      return { status, drop: reply.line.split(" ").slice(1, 3) };
    case "LIST":
      if (rest.trim() === "") return { status, body };
      return { status, listing: reply.line.split(" ").slice(1, 3) };
    case "UIDL":
      if (rest.trim() === "") return { status, numbers: body?.replaceAll(/ \S+\r\n/g, " ") };
      return { status, number: reply.line.split(" ")[1] };
    case "RETR":
    case "TOP":
      return { status, body };
    case "CAPA": {
      const both = new Set(["TOP", "UIDL", "RESP-CODES", "PIPELINING"]);
      return {
        status,
        lines: body
          ?.split("\r\n")
          .filter((word) => both.has(word))
          .sort(),
      };
    }
    default:
      return { status };
  }
}

/** Unique-ids by ours: each of ours is one of theirs, always the same one. */
class UidPairs {
  readonly #theirs = new Map<string, string>();

  add({ line, ours, theirs }: Exchange): void {
    if (split(line).verb !== "UIDL" || ours.status !== "+OK") return;
    const [left, right] = [uidsOf(ours), uidsOf(theirs)];
    expect(left.length).toBe(right.length);
    for (const [at, uid] of left.entries()) {
      const other = right[at] ?? "";
      expect(this.#theirs.get(uid) ?? other).toBe(other);
      this.#theirs.set(uid, other);
    }
    expect(new Set(this.#theirs.values()).size).toBe(this.#theirs.size);
  }
}

function uidsOf({ line, body }: Reply): string[] {
  if (body === undefined) return [line.split(" ")[2] ?? ""];
  return [...body.matchAll(/^\d+ (\S+)\r$/gm)].map(([, uid]) => uid ?? "");
}

/** RFC 3206 §5 has a code for it. */
function isWrongPassword({ before, line, ours }: Exchange): boolean {
  return ours.status === "-ERR" && /^USER \S/i.test(before) && /^PASS \S/i.test(line);
}

const met = new Map<string, number>();

/** Compares up to a known difference in what was done; false when there was one. */
function compare(
  lines: readonly string[],
  left: Reply[],
  right: Reply[],
  pairs: UidPairs,
): boolean {
  for (const [index, line] of ["", ...lines].entries()) {
    const [ours, theirs] = [left[index], right[index]];
    if (ours === undefined || theirs === undefined) throw new Error("a reply is missing");
    // A line that was refused is no USER that a PASS could be good for.
    const isTaken = left[index - 1]?.status === "+OK";
    const exchange = { line, before: isTaken ? (lines[index - 2] ?? "") : "", ours, theirs };
    const difference = known.find(({ is }) => is(exchange));
    if (difference !== undefined) {
      met.set(difference.what, (met.get(difference.what) ?? 0) + 1);
      if (changing.has(split(line).verb)) return false;
      continue;
    }
    const shown = `line ${index}: ${JSON.stringify(line)}\nours: ${ours.line}\ntheirs: ${theirs.line}`;
    expect(meaning(line, ours), shown).toEqual(meaning(line, theirs));
    if (isWrongPassword(exchange)) {
      for (const reply of [ours, theirs]) expect(reply.line).toMatch(/^-ERR \[AUTH\] /);
    }
    pairs.add(exchange);
  }
  return true;
}

/** What is left when the dialogue is over: RFC 1939 §6. */
async function compareWhatIsLeft(user: string, pairs: UidPairs): Promise<void> {
  await waitUntil(() => !maildrops.open.has(user), {
    deadlineMs: 60_000,
    what: "our session to be over",
    everyMs: 1,
  });
  const lines = [`USER ${user}`, `PASS ${dovecot.password}`, "LIST", "UIDL", "RETR 1", "QUIT"];
  const how = { pipelined: false, lineEnd: "\r\n" };
  const [left, right] = await Promise.all([play(ours, lines, how), play(dovecot.pop3, lines, how)]);
  expect(left[2]?.status).toBe("+OK");
  expect(compare(lines, left, right, pairs)).toBe(true);
}

describe.skipIf(missing !== undefined)("against Dovecot's POP3 server", () => {
  test(`${runs} random dialogues`, async () => {
    let whole = 0;
    await fc.assert(
      fc.asyncProperty(dialogues, async (dialogue) => {
        await withAccount(async (user) => {
          const lines = linesOf(dialogue, user, dovecot.password);
          const pairs = new UidPairs();
          const [left, right] = await Promise.all([
            play(ours, lines, dialogue),
            play(dovecot.pop3, lines, dialogue),
          ]);
          if (!compare(lines, left, right, pairs)) return;
          whole += 1;
          await compareWhatIsLeft(user, pairs);
        });
      }),
      { numRuns: runs, seed, endOnFailure: false },
    );
    const named = [...met].map(([what, count]) => `  ${count} × ${what}`).join("\n");
    process.stdout.write(
      `${runs} dialogues with Dovecot, ${whole} to their end; known differences:\n${named}\n`,
    );
    expect(whole).toBeGreaterThan(runs / 4);
  }, 3_600_000);
});
