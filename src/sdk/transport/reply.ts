/** What a mail server said at the end of a mail, and what of it is the ring's word. */
import type { RefusalCode } from "../../ebm/index.js";

export interface SmtpReply {
  readonly code: number;
  /** Without the code; lines joined with a space. */
  readonly text: string;
  /** Receivers who were refused while others were not, each with its reply. */
  readonly rejected?: readonly { readonly address: string; readonly reply: string }[];
}

/** The ring's own word in a reply: `ebm=<word> …`. */
export type RingWord =
  | { readonly kind: "ok"; readonly id: string }
  /** Which of what was asked together are done. */
  | { readonly kind: "partly"; readonly done: readonly boolean[] }
  | { readonly kind: "taken" }
  /** Sequences that are wanted first, by stream. */
  | { readonly kind: "early"; readonly expected: Readonly<Record<string, number>> }
  | { readonly kind: "kept"; readonly why: string }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly why: string };

const refusals: ReadonlySet<string> = new Set<RefusalCode>([
  "malformed",
  "denied",
  "throttled",
  "forbidden",
  "exists",
  "unknown",
  "full",
  "closed",
  "undecided",
  "tooLarge",
]);

/** Undefined: somebody else's mail server spoke. */
export function ringWord({ text }: SmtpReply): RingWord | undefined {
  const [, word = "", rest = ""] = /(?:^|\s)ebm=([a-z]+)\b ?(.*)$/is.exec(text) ?? [];
  switch (word) {
    case "":
      return undefined;
    case "ok":
      return { kind: "ok", id: /\bid=(\S+)/.exec(rest)?.[1] ?? "" };
    case "partly":
      return { kind: "partly", done: doneIn(rest) };
    case "taken":
      return { kind: "taken" };
    case "kept":
      return { kind: "kept", why: rest };
    case "early":
      return { kind: "early", expected: expectedIn(text) };
    default:
      return refusals.has(word)
        ? { kind: "refused", code: word as RefusalCode, why: rest }
        : undefined;
  }
}

/** `done=1101`. What is cut off counts as not done. */
const doneIn = (text: string): boolean[] =>
  [...(/\bdone=([01]+)/.exec(text)?.[1] ?? "")].map((each) => each === "1");

/** `ebm=early <stream>:<sequence> <stream>:<sequence>`. */
function expectedIn(text: string): Record<string, number> {
  const expected: Record<string, number> = Object.create(null) as Record<string, number>;
  const [, list = ""] = /\bebm=early[ =]?(.*)$/s.exec(text) ?? [];
  for (const [, stream = "", sequence] of list.matchAll(/(\S+):(\d{1,16})(?=\s|$)/g)) {
    expected[stream] = Number(sequence);
  }
  return expected;
}

/** Codes 4yz: the same mail may be taken later. */
export const isTemporary = ({ code }: SmtpReply): boolean => code >= 400 && code < 500;

/** From what a server wrote, `250-…` lines included. */
export function replyOf(response: string): SmtpReply {
  const lines = response.split(/\r?\n/).filter((line) => line !== "");
  const code = Number(lines.at(-1)?.slice(0, 3));
  return { code: Number.isInteger(code) ? code : 0, text: lines.map((l) => l.slice(4)).join(" ") };
}
