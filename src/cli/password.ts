import { once } from "node:events";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { CliError, exitCodes, usageError } from "./errors.js";
import type { World } from "./world.js";

export interface PasswordOptions {
  readonly passwordStdin?: boolean;
}

/** Of one that a person types; a script is taken to know what it does. */
const typedCharsMin = 6;
const passwordOctetsMax = 1_024;

/**
 * A new password: from the first line of stdin, or typed twice at the terminal. Never from the
 * command line, where every user of the machine can read it.
 * @throws CliError
 */
export async function readNewPassword(
  world: World,
  { passwordStdin = false }: PasswordOptions,
): Promise<string> {
  if (passwordStdin) return accepted(await firstLine(world.stdin));
  if (!world.stdin.isTTY) {
    throw usageError(
      "there is no terminal to ask for the password; give it on stdin with --password-stdin",
    );
  }
  const terminal = openHidden(world);
  try {
    const password = accepted(await terminal.ask("New password: "), typedCharsMin);
    const again = await terminal.ask("Again: ");
    if (again !== password) throw new CliError("the two passwords differ; try again");
    return password;
  } finally {
    terminal.close();
  }
}

/** The password of an account, to log in with: typed once. @throws CliError */
export async function readPassword(
  world: World,
  { passwordStdin = false }: PasswordOptions,
): Promise<string> {
  if (passwordStdin) return firstLine(world.stdin);
  if (!world.stdin.isTTY) {
    throw usageError(
      "there is no terminal to ask for the password; give it on stdin with --password-stdin",
    );
  }
  const terminal = openHidden(world);
  try {
    return await terminal.ask("Password: ");
  } finally {
    terminal.close();
  }
}

function accepted(password: string, charsMin = 1): string {
  const refuse = (why: string) => new CliError(`the password ${why}; nothing was changed`);
  if (password === "") throw refuse("is empty");
  if ([...password].length < charsMin) {
    throw refuse(`is too short: take at least ${charsMin} characters`);
  }
  if (Buffer.byteLength(password) > passwordOctetsMax) {
    throw refuse(`is longer than ${passwordOctetsMax} octets`);
  }
  // RFC 1939 §7: PASS takes the rest of a line; a mail client could not send these.
  if (/\p{Cc}/u.test(password)) throw refuse("has a control character, which clients can't send");
  return password;
}

/** Without its line end. A longer one is cut. */
export async function firstLine(
  stdin: NodeJS.ReadStream,
  octetsMax = 2 * passwordOctetsMax,
): Promise<string> {
  const chunks: Buffer[] = [];
  let octets = 0;
  for await (const chunk of stdin) {
    const piece = Buffer.from(chunk as Buffer);
    chunks.push(piece);
    octets += piece.length;
    if (piece.includes(0x0a) || octets > octetsMax) break;
  }
  const [line = ""] = Buffer.concat(chunks).toString("utf8").split("\n");
  return line.replace(/\r$/, "");
}

/**
 * Lines typed without echo. The terminal is quiet from before the first question to the end: what
 * somebody (or a paste) types between two questions is not shown either.
 */
function openHidden({ stdin, output }: World) {
  // readline edits the line and puts the terminal into raw mode; its echo goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: stdin, output: nowhere, terminal: true });
  const lines = reader[Symbol.asyncIterator]();
  const cancelled = Promise.race([once(reader, "SIGINT"), once(reader, "close")]);
  return {
    async ask(question: string): Promise<string> {
      output.prompt(question);
      const answer = await Promise.race([lines.next(), cancelled.then(() => undefined)]);
      output.note("");
      if (answer === undefined || answer.done === true) {
        throw new CliError("cancelled", exitCodes.cancelled);
      }
      return answer.value;
    },
    close: () => reader.close(),
  };
}
