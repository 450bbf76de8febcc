/** Arguments of MAIL and RCPT, RFC 5321 §4.1.2: read back what was written, refuse the rest. */
import fc from "fast-check";
import { parsePathArguments } from "../../src/smtp/command-arguments.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated, tokenSoup } from "./octets.js";

const tokens = [
  "MAIL FROM:",
  "mail from:",
  "<",
  ">",
  '"',
  "\\",
  "@",
  ",",
  ":",
  " ",
  "\t",
  "=",
  "SIZE",
];
const atom = fc.string({ unit: fc.constantFrom("a", "Z", "9", ".", "+", "é", "-"), minLength: 1 });
const quoted = fc
  .string({ unit: fc.constantFrom("a", " ", ">", "<", "@", '\\"', "\\\\"), maxLength: 9 })
  .map((text) => `"${text}"`);
const keyword = fc.stringMatching(/^[A-Z0-9][A-Z0-9-]{0,8}$/);
const value = fc.option(fc.stringMatching(/^[!-<>-~]{1,9}$/), { nil: undefined });

type Input =
  | { readonly kind: "octets"; readonly octets: Uint8Array }
  | {
      readonly kind: "written";
      readonly path: string;
      readonly route: string;
      readonly blanks: readonly string[];
      readonly parameters: readonly (readonly [string, string | undefined | null])[];
    };

const blank = fc.constantFrom("", " ", "\t", "  ");

export const smtpPath = fuzzer<Input>({
  name: "smtp-path",
  testRuns: 3_000,
  inputs: fc.oneof(
    fc.record({
      kind: fc.constant("octets" as const),
      octets: fc.oneof(
        tokenSoup(tokens),
        mutated(["MAIL FROM:<a@b.test> SIZE=1 BODY=8BITMIME", 'mail from:<"a b"@c>'], tokens),
      ),
    }),
    fc.record({
      kind: fc.constant("written" as const),
      path: fc.tuple(fc.oneof(atom, quoted), atom).map(([local, host]) => `${local}@${host}`),
      route: fc.constantFrom("", "@a,@b.test:", "@x:"),
      blanks: fc.tuple(blank, blank),
      parameters: fc.array(fc.tuple(keyword, value), { maxLength: 4 }),
    }),
  ),
  run(input) {
    if (input.kind === "octets") {
      const parsed = parsePathArguments(Buffer.from(input.octets), "MAIL FROM:");
      if (parsed.kind === "path") sameAgain(parsed.path, parsed.parameters);
      else check(/^[ -~]{3,60}$/.test(parsed.why), () => `not a short line: ${parsed.why}`);
      return;
    }
    const { path, route, blanks } = input;
    const parameters = input.parameters.map(([key, text]) => [key, text ?? undefined] as const);
    const words = parameters.map(
      ([key, text]) => ` ${text === undefined ? key : `${key}=${text}`}`,
    );
    const [before = "", after = ""] = blanks;
    const line = `MAIL FROM:${before}<${route}${path}>${words.join("")}${after}`;
    const parsed = parsePathArguments(Buffer.from(line), "MAIL FROM:");
    check(parsed.kind === "path", () => `refused: ${line}`);
    check(parsed.path === path, () => `${line} is ${parsed.path}`);
    const read = JSON.stringify(parsed.parameters);
    check(read === JSON.stringify(parameters), () => `${line} has ${read}`);
  },
});

/** What was understood is understood alike when it is written in the plain way. */
function sameAgain(path: string, parameters: readonly (readonly [string, string | undefined])[]) {
  const words = parameters.map(([key, text]) => ` ${text === undefined ? key : `${key}=${text}`}`);
  const again = parsePathArguments(
    Buffer.from(`MAIL FROM:<${path}>${words.join("")}`),
    "MAIL FROM:",
  );
  // A path that looks like a source route again is the one exception: `<@a:@b:c>`.
  if (path.startsWith("@")) return;
  check(again.kind === "path" && again.path === path, () => `not the same again: ${path}`);
}
