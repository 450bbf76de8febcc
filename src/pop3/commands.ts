import { replies } from "./replies.js";

/** One command line, understood. Message numbers are 1-based, as the client counts. */
export type Command =
  | { readonly verb: "USER"; readonly name: string }
  | { readonly verb: "PASS"; readonly password: string }
  | { readonly verb: "AUTH"; readonly mechanism: string; readonly initial: string | undefined }
  | { readonly verb: "RETR" | "DELE"; readonly number: number }
  | { readonly verb: "LIST" | "UIDL"; readonly number: number | undefined }
  | { readonly verb: "TOP"; readonly number: number; readonly lines: number }
  | { readonly verb: "STAT" | "NOOP" | "RSET" | "QUIT" | "CAPA" | "UTF8" | "STLS" };

/** `reply` says what is wrong with a line that is no command. */
export type Parsed = Command | { readonly verb: "invalid"; readonly reply: string };

const invalid = (reply: string): Parsed => ({ verb: "invalid", reply });

/**
 * Reads a command (RFC 1939 §3, RFC 5034 §4). `line` holds one octet per character (latin1) and no
 * line end.
 */
export function parseCommand(line: string): Parsed {
  if (hasBadCharacter(line)) return invalid(replies.badCharacter);
  const space = line.indexOf(" ");
  const verb = (space < 0 ? line : line.slice(0, space)).toUpperCase();
  const rest = space < 0 ? "" : line.slice(space + 1);
  switch (verb) {
    case "RETR":
    case "DELE": {
      const number = messageNumber(trimEnd(rest));
      return number === undefined ? invalid(replies.syntax(`${verb} msg`)) : { verb, number };
    }
    case "LIST":
    case "UIDL":
      return parseListing(verb, trimEnd(rest));
    case "TOP":
      return parseTop(trimEnd(rest));
    case "STAT":
    case "NOOP":
    case "RSET":
    case "QUIT":
    case "CAPA":
    case "UTF8":
    case "STLS":
      return trimEnd(rest) === "" ? { verb } : invalid(replies.syntax(verb));
    case "USER": {
      const name = trimEnd(rest).replace(/^ +/, "");
      return name === "" ? invalid(replies.syntax("USER name")) : { verb, name };
    }
    case "PASS":
      // RFC 1939 §7: a password may have spaces, also at its end.
      return rest === "" ? invalid(replies.syntax("PASS string")) : { verb, password: rest };
    case "AUTH":
      return parseAuth(trimEnd(rest));
    default:
      return invalid(replies.unknownCommand);
  }
}

/** NUL and bare CR stand in no command; what lies behind them could hide from a log or a proxy. */
function hasBadCharacter(line: string): boolean {
  return line.includes("\0") || line.includes("\r");
}

/** Spaces only: `trimEnd` of a string would take 0xA0 off the end of a name in UTF-8. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 32) end--;
  return end === text.length ? text : text.slice(0, end);
}

function parseListing(verb: "LIST" | "UIDL", argument: string): Parsed {
  if (argument === "") return { verb, number: undefined };
  const number = messageNumber(argument);
  return number === undefined ? invalid(replies.syntax(`${verb} [msg]`)) : { verb, number };
}

function parseTop(argument: string): Parsed {
  const space = argument.indexOf(" ");
  const number = messageNumber(argument.slice(0, Math.max(space, 0)));
  const lines = messageNumber(argument.slice(space + 1));
  if (number === undefined || lines === undefined) return invalid(replies.syntax("TOP msg n"));
  return { verb: "TOP", number, lines };
}

function parseAuth(argument: string): Parsed {
  if (argument === "") return invalid(replies.syntax("AUTH mechanism [initial-response]"));
  const space = argument.indexOf(" ");
  if (space < 0) return { verb: "AUTH", mechanism: argument.toUpperCase(), initial: undefined };
  const mechanism = argument.slice(0, space).toUpperCase();
  return { verb: "AUTH", mechanism, initial: argument.slice(space + 1) };
}

/**
 * Decimal digits only: no sign, no space. What a double can't hold exactly is no message's number,
 * and the nearest double is none either.
 */
function messageNumber(text: string): number | undefined {
  if (text === "" || text.length > 100) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}
