/** Arguments of MAIL and RCPT: RFC 5321 §4.1.2, `FROM:<path> KEY=value …`. Pure. */
import { isUtf8 } from "node:buffer";

export type PathArguments =
  | {
      readonly kind: "path";
      /** Without angle brackets and source route; "" for the null sender. */
      readonly path: string;
      /** True when the path has octets outside ASCII (RFC 6531). */
      readonly utf8: boolean;
      /** Keywords in upper case; a keyword without `=` has the value undefined. */
      readonly parameters: readonly (readonly [keyword: string, value: string | undefined])[];
    }
  | { readonly kind: "invalid"; readonly part: "path" | "parameters"; readonly why: string };

// A quoted string may contain anything, `>` and space included (RFC 5321 §4.1.2).
const pathAndRest = /^<((?:[^<>"\s]|"(?:[^"\\]|\\.)*")*)>(?:[ \t]+(.*))?$/u;
// RFC 5321 §4.1.1.3 and appendix C: a source route is accepted and ignored.
const sourceRoute = /^@[^\s,:@"]+(?:,@[^\s,:@"]+)*:/u;
const parameter = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?$/;

/**
 * @param line the whole command, without its line end
 * @param prefix `MAIL FROM:` or `RCPT TO:`
 */
export function parsePathArguments(line: Buffer, prefix: string): PathArguments {
  if (!isUtf8(line)) return noPath("not UTF-8");
  const text = line.toString();
  if (text.slice(0, prefix.length).toUpperCase() !== prefix) {
    return noPath(`syntax is ${prefix}<address>`);
  }
  // Spaces around are not allowed by the RFC, but widely sent.
  const match = pathAndRest.exec(text.slice(prefix.length).trim());
  if (match === null) return noPath(`syntax is ${prefix}<address>`);
  const [, bracketed = "", rest = ""] = match;
  const path = bracketed.replace(sourceRoute, "");
  const parameters: [string, string | undefined][] = [];
  for (const word of rest.split(/[ \t]+/)) {
    if (word === "") continue;
    const parts = parameter.exec(word);
    if (parts === null) {
      return { kind: "invalid", part: "parameters", why: "parameter is malformed" };
    }
    parameters.push([(parts[1] ?? "").toUpperCase(), parts[2]]);
  }
  return { kind: "path", path, utf8: Buffer.byteLength(path) !== path.length, parameters };
}

function noPath(why: string): PathArguments {
  return { kind: "invalid", part: "path", why };
}
