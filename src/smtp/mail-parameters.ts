/** Parameters of MAIL, by the extensions that EHLO announces. */
import type { PathArguments } from "./command-arguments.js";
import { replies, type Reply } from "./replies.js";

type Parameters = Extract<PathArguments, { kind: "path" }>["parameters"];

interface Announced {
  /** SIZE (RFC 1870). */
  readonly messageOctetsMax: number;
  /** AUTH is announced where users hand in their mail. */
  readonly isSubmission: boolean;
}

/** RFC 5321 §4.1.1.11: a parameter that was not announced is refused, never ignored. */
export function refusedParameter(parameters: Parameters, announced: Announced): Reply | undefined {
  const seen = new Set<string>();
  for (const [keyword, value] of parameters) {
    if (seen.has(keyword)) return replies.parameterSyntax(`${keyword} is given twice`);
    seen.add(keyword);
    const refusal = refusalOf(keyword, value, announced);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function refusalOf(
  keyword: string,
  value: string | undefined,
  { messageOctetsMax, isSubmission }: Announced,
): Reply | undefined {
  switch (keyword) {
    case "SIZE": // RFC 1870
      if (value === undefined || !/^\d{1,20}$/.test(value)) {
        return replies.parameterSyntax("SIZE needs a number");
      }
      return Number(value) > messageOctetsMax ? replies.tooLarge(messageOctetsMax) : undefined;
    case "BODY": // RFC 6152
      return value !== undefined && /^(?:7BIT|8BITMIME)$/i.test(value)
        ? undefined
        : replies.parameterSyntax("BODY is 7BIT or 8BITMIME");
    case "SMTPUTF8": // RFC 6531 §3.4
      return value === undefined ? undefined : replies.parameterSyntax("SMTPUTF8 has no value");
    case "AUTH": // RFC 4954 §5: who is said to have sent it first; believed of nobody.
      if (!isSubmission) return replies.parameterUnknown(keyword);
      return value !== undefined && isXtextAddress(value)
        ? undefined
        : replies.parameterSyntax("AUTH needs an address in xtext, or <>");
    default:
      return replies.parameterUnknown(keyword);
  }
}

/** RFC 3461 §4, for the value of AUTH; what it says is not used. */
function isXtextAddress(value: string): boolean {
  return value === "<>" || /^(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+$/.test(value);
}
