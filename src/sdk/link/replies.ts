/** What a mail server's reply means for a packet. */
import type { Submission } from "./ports.js";

/** A message of a packet. */
export interface Place {
  readonly stream: string;
  readonly sequence: number;
}

export type Verdict =
  /** Somebody's mail server has it: no acknowledgement yet. */
  | { readonly kind: "accepted" }
  /** The ring has it, durably. */
  | { readonly kind: "taken" }
  | { readonly kind: "early"; readonly expected: ReadonlyMap<string, number> }
  /** Not now. `isDoubtful`: it had begun, and nobody knows what of it is done. */
  | { readonly kind: "later"; readonly why: string; readonly isDoubtful?: boolean }
  | { readonly kind: "too large"; readonly why: string }
  /** Never. `tooLarge`: the first message of the packet of which no part can be taken. */
  | { readonly kind: "refused"; readonly why: string; readonly tooLarge?: Place | undefined }
  /** No reply: taken or not. */
  | { readonly kind: "unknown"; readonly why: string };

/** Refusals that say something of the session or the hour, and not of the message. */
const passing = new Set(["denied", "throttled", "undecided", "full", "early"]);

/** Said also of the rest of a packet, when the first of its messages are taken. */
const begun = new Set(["undecided", "full"]);

export function verdictOf(submission: Submission): Verdict {
  if (submission.kind === "none") return { kind: "unknown", why: submission.why };
  const { code, text } = submission;
  const why = `${code} ${text}`.slice(0, 256);
  const [, word = "", rest = ""] = /\bebm=([a-z]+)\b([^\r\n]*)/i.exec(text) ?? [];
  if (word !== "") return verdictOfRing({ code, word, rest, why });
  if (code >= 200 && code < 300) return { kind: "accepted" };
  // RFC 5321 §4.2.3: 451 is an error in processing.
  if (code < 500) return { kind: "later", why, isDoubtful: code === 451 };
  if (isSizeRefusal(code, text)) return { kind: "too large", why };
  // The mailbox is full, RFC 3463 §3.3: it may have room tomorrow.
  if (/\b5\.2\.2\b/.test(text)) return { kind: "later", why };
  return { kind: "refused", why };
}

function verdictOfRing(reply: { code: number; word: string; rest: string; why: string }): Verdict {
  const { code, word, rest, why } = reply;
  if (code >= 200 && code < 300) {
    return word === "taken" ? { kind: "taken" } : { kind: "refused", why };
  }
  if (word === "early") return { kind: "early", expected: readExpected(rest) };
  const isDoubtful = begun.has(word);
  if (code < 500 || passing.has(word)) return { kind: "later", why, isDoubtful };
  return { kind: "refused", why, tooLarge: placeIn(word, rest) };
}

/** RFC 5321 §4.2.3, RFC 3463 §3.3 and §3.4. */
function isSizeRefusal(code: number, text: string): boolean {
  if (isSizeStatus(/\b[45]\.\d{1,3}\.\d{1,3}\b/.exec(text)?.[0] ?? "")) return true;
  return code === 552 && !/\b5\.2\.2\b/.test(text);
}

export const isSizeStatus = (status: string): boolean => status === "5.2.3" || status === "5.3.4";

/** `ebm=tooLarge main:5 …` */
function placeIn(word: string, rest: string): Place | undefined {
  if (word !== "tooLarge") return undefined;
  const [[stream, sequence] = []] = readExpected(rest);
  return stream === undefined || sequence === undefined ? undefined : { stream, sequence };
}

/** `main:5 other:3` */
function readExpected(text: string): ReadonlyMap<string, number> {
  const expected = new Map<string, number>();
  for (const [, stream = "", sequence = ""] of text.matchAll(
    /(?<=\s)([\x21-\x7e]{1,128}):(\d{1,15})(?=\s|$)/g,
  )) {
    expected.set(stream, Number(sequence));
  }
  return expected;
}

/** Of a NACK: the ring's word for the reason comes first. */
export function verdictOfNack(why: string, expected?: Readonly<Record<string, number>>): Verdict {
  if (expected !== undefined) return { kind: "early", expected: new Map(Object.entries(expected)) };
  const [, word = ""] = /^(?:.*\bebm=)?([a-z]+)/i.exec(why) ?? [];
  const isDoubtful = begun.has(word);
  if (passing.has(word)) return { kind: "later", why, isDoubtful };
  return { kind: "refused", why, tooLarge: placeIn(word, why) };
}
