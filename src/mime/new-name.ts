/**
 * Names for new accounts and aliases: in effect PRECIS UsernameCaseMapped (RFC 8265), and narrower,
 * since a name is for ever and is typed, shown and compared. Who has a name already keeps it.
 */
import { type AccountName, validateAccountName } from "./address.js";
import { asciiLookAlike } from "./confusable.js";

/** `ring` is the address by which the ring itself is written to. */
export const ringLocalPart = "ring";
const reserved = new Set([ringLocalPart]);

/**
 * Whether somebody may get this local part now. Idempotent on what it returns.
 * RFC 8265 §3.3, RFC 5893 §2, UTS 39 §5 ("highly restrictive").
 */
export function validateNewName(name: string): AccountName {
  const valid = validateAccountName(name);
  if (valid.kind === "invalid") return valid;
  const { local } = valid;
  if (reserved.has(local)) return invalid(`"${local}" is reserved`);
  if (disallowed.test(local))
    return invalid("a name can't contain obsolete or enclosing characters");
  if (/(\p{Mn})\1|\p{Mn}{4}/u.test(local)) return invalid("too many accents on one letter");
  if (!isOfOneScript(local)) return invalid("a name can't mix letters of different scripts");
  if (!obeysBidiRule(local)) {
    return invalid("a name can't mix writing directions (RFC 5893), nor their digits");
  }
  const ascii = asciiLookAlike(local);
  if (ascii !== undefined) return invalid(`it looks like "${ascii}" in other letters`);
  return valid;
}

/** RFC 8264 §9: what is not LetterDigits, the exceptions of RFC 5892 §2.6, old Hangul (§2.9). */
const disallowed =
  /[\p{Me}\p{Lt}\u0640\u07FA\u302E\u302F\u3031-\u3035\u303B\u1100-\u11FF\uA960-\uA97F\uD7B0-\uD7FF]/u;

/** UAX 31 table 5: scripts in everyday use. Others are not for identifiers (UTS 39 §3.1). */
const recommended = [
  "Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Hebrew",
  "Kannada Khmer Lao Latin Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan",
]
  .join(" ")
  .split(" ")
  .map((script) => [script]);
/** UTS 39 §5.2: scripts that are written together. */
const together = [
  ["Latin", "Han", "Hiragana", "Katakana"],
  ["Latin", "Han", "Bopomofo"],
  ["Latin", "Han", "Hangul"],
];
const scriptSets = [...recommended, ...together].map((scripts) => {
  const members = scripts.map((script) => `\\p{scx=${script}}`).join("");
  return new RegExp(`^[${members}\\p{scx=Common}\\p{scx=Inherited}]+$`, "u");
});

function isOfOneScript(local: string): boolean {
  return scriptSets.some((set) => set.test(local));
}

// Bidi classes of what a name may consist of, by DerivedBidiClass: letters (and digits) of these
// blocks are R or AL, Arabic-Indic digits AN, ASCII and extended Arabic-Indic ones EN, marks NSM.
const an = "\\u0660-\\u0669";
const en = "0-9\\u06F0-\\u06F9";
const rtl =
  "\\u0590-\\u08FF\\uFB1D-\\uFDFF\\uFE70-\\uFEFF\\u{10800}-\\u{10FFF}\\u{1E800}-\\u{1EFFF}";
const isRtl = (letter: string): boolean =>
  new RegExp(`^[${rtl}]$`, "u").test(letter) &&
  !new RegExp(`^[${an}${en}\\p{Mn}]$`, "u").test(letter);
const contains = (set: string): RegExp => new RegExp(`[${set}]`, "u");
const hasAn = contains(an);
const hasEn = contains(en);

/** RFC 5893 §2, which RFC 8265 §3.3.1 asks of names with a letter that runs from right to left. */
function obeysBidiRule(local: string): boolean {
  const letters = [...local];
  if (!hasAn.test(local) && !letters.some(isRtl)) return true;
  const [first = ""] = letters;
  // 1 and 2; that nothing left-to-right is among them follows from the one script.
  if (!isRtl(first)) return false;
  const isLtr = (letter: string): boolean =>
    /[\p{L}\p{Mc}\p{Nd}]/u.test(letter) &&
    !isRtl(letter) &&
    !hasAn.test(letter) &&
    !hasEn.test(letter);
  if (letters.some(isLtr)) return false;
  // 3
  const last = letters.filter((letter) => !/\p{Mn}/u.test(letter)).at(-1) ?? "";
  if (!isRtl(last) && !hasAn.test(last) && !hasEn.test(last)) return false;
  // 4
  return !(hasAn.test(local) && hasEn.test(local));
}

function invalid(why: string): AccountName {
  return { kind: "invalid", why };
}
