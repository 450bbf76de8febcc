/** Random POP3 dialogues, how they are played, and how two servers' answers are compared. */
import fc from "fast-check";
import { TestClient } from "../transcripts/pop3-support.js";
import { hostPort } from "./wire.js";

export interface Dialogue {
  /** Lines before the login that gets through, and behind it; no line ends. */
  readonly before: readonly string[];
  readonly login: "USER" | "PLAIN" | "PLAIN in two steps";
  readonly after: readonly string[];
  /** Whether a QUIT is the last line; without it the connection is dropped. */
  readonly quits: boolean;
  /** All in one piece, without waiting for replies. */
  readonly pipelined: boolean;
  readonly lineEnd: "\r\n" | "\n";
}

const odd = fc.constantFrom(
  "0",
  "-1",
  "99",
  "100000000000000000000",
  "x",
  "1x",
  "+1",
  "0x1",
  "1.0",
);
const number = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 9 }).map(String) },
  { weight: 1, arbitrary: fc.constantFrom("01", "002") },
  { weight: 3, arbitrary: odd },
);
const rarely = <T>(usual: T, ...unusual: readonly T[]) =>
  fc.oneof(
    { weight: 20, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...unusual) },
  );
const spelt = (verb: string) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant(verb) },
    { weight: 1, arbitrary: fc.constant(verb.toLowerCase()) },
    { weight: 1, arbitrary: fc.constant(verb.charAt(0) + verb.slice(1).toLowerCase()) },
  );
const gap = rarely(" ", "  ");
const tail = rarely("", " ", "  ", " 1", " x");

const joined = (...parts: readonly fc.Arbitrary<string>[]) =>
  fc.tuple(...parts).map((words) => words.join(""));
const bare = (verb: string) => joined(spelt(verb), tail);
const numbered = (verb: string) => joined(spelt(verb), gap, number, tail);
const cut = (verb: string) => joined(spelt(verb), rarely("", " "));
const top = joined(spelt("TOP"), gap, number, gap, number, tail);

const junk = fc.constantFrom("", " ", "XYZZY", "LAST", "RETR1", "\t", "STAT\t", "APOP a b", "STLS");
const inTransaction = fc.oneof(
  { weight: 4, arbitrary: numbered("RETR") },
  { weight: 4, arbitrary: top },
  { weight: 5, arbitrary: numbered("DELE") },
  { weight: 2, arbitrary: numbered("LIST") },
  { weight: 2, arbitrary: numbered("UIDL") },
  { weight: 2, arbitrary: fc.oneof(bare("LIST"), bare("UIDL")) },
  { weight: 3, arbitrary: bare("STAT") },
  { weight: 2, arbitrary: fc.oneof(bare("NOOP"), bare("RSET"), bare("CAPA")) },
  { weight: 1, arbitrary: fc.oneof(cut("RETR"), cut("DELE"), cut("TOP"), cut("QUITS")) },
  { weight: 1, arbitrary: fc.oneof(junk, fc.constantFrom("USER a", "PASS b", "AUTH PLAIN")) },
);
const inAuthorization = fc.oneof(
  { weight: 3, arbitrary: fc.oneof(bare("CAPA"), bare("STAT"), bare("NOOP"), numbered("RETR")) },
  { weight: 2, arbitrary: fc.constantFrom("USER nobody", "user nobody", "USER no body", "USER") },
  { weight: 3, arbitrary: fc.constantFrom("PASS wrong", "pass a b", "PASS ", "PASS") },
  { weight: 1, arbitrary: fc.constantFrom("AUTH", "AUTH FOO", "AUTH PLAIN =", "AUTH PLAIN !") },
  { weight: 1, arbitrary: junk },
);

/** Short enough that neither server loses its patience. */
export const dialogues: fc.Arbitrary<Dialogue> = fc.record({
  // Dovecot sends away who says three things before a login that it does not know.
  before: fc.array(inAuthorization, { maxLength: 2 }),
  login: fc.constantFrom("USER", "USER", "PLAIN", "PLAIN in two steps"),
  after: fc.array(inTransaction, { maxLength: 14 }),
  quits: fc.boolean(),
  pipelined: fc.boolean(),
  lineEnd: fc.constantFrom("\r\n", "\r\n", "\n"),
});

export function linesOf(dialogue: Dialogue, user: string, password: string): string[] {
  const plain = Buffer.from(`\0${user}\0${password}`).toString("base64");
  const login = {
    USER: [`USER ${user}`, `PASS ${password}`],
    PLAIN: [`AUTH PLAIN ${plain}`],
    "PLAIN in two steps": ["AUTH PLAIN", plain],
  }[dialogue.login];
  const quit = dialogue.quits ? ["QUIT"] : [];
  return [...dialogue.before, ...login, ...dialogue.after, ...quit];
}

export interface Reply {
  readonly status: "+OK" | "-ERR" | "+" | "closed";
  /** The status line without its end. */
  readonly line: string;
  /** Of a multi-line reply: its lines, dots as sent, each with its end; without the last dot. */
  readonly body?: string;
}

/** The verb in capitals, and what stands behind the first space. */
export function split(line: string): { readonly verb: string; readonly rest: string } {
  const space = line.indexOf(" ");
  if (space < 0) return { verb: line.toUpperCase(), rest: "" };
  return { verb: line.slice(0, space).toUpperCase(), rest: line.slice(space + 1) };
}

function isMultiline(line: string): boolean {
  const { verb, rest } = split(line);
  if (verb === "LIST" || verb === "UIDL" || verb === "AUTH") return rest.trim() === "";
  return verb === "RETR" || verb === "TOP" || verb === "CAPA";
}

async function readReply(client: TestClient, line: string): Promise<Reply> {
  try {
    const first = (await client.line()).slice(0, -2);
    const [, status] = /^(\+OK|-ERR|\+)( |$)/.exec(first) ?? [];
    if (status === undefined) throw new Error(`not a reply: ${JSON.stringify(first)}`);
    const reply = { status: status as Reply["status"], line: first };
    if (status !== "+OK" || !isMultiline(line)) return reply;
    let body = "";
    for (let next = await client.line(); next !== ".\r\n"; next = await client.line()) body += next;
    return { ...reply, body };
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("closed")) throw error;
    return { status: "closed", line: "" };
  }
}

/** The greeting's and each line's reply. The connection is gone afterwards. */
export async function play(
  pop3: string,
  lines: readonly string[],
  how: { readonly pipelined: boolean; readonly lineEnd: string },
): Promise<Reply[]> {
  const client = new TestClient(hostPort(pop3).port);
  try {
    const replies = [await readReply(client, "")];
    if (how.pipelined) client.send(lines.map((line) => `${line}${how.lineEnd}`).join(""));
    for (const line of lines) {
      if (!how.pipelined) client.send(`${line}${how.lineEnd}`);
      replies.push(await readReply(client, line));
    }
    return replies;
  } finally {
    client.socket.destroy();
  }
}
