/** Configuration: JSONC beside JSON.parse, and options that are refused in one line. */
import fc from "fast-check";
import { parseConf } from "../../src/config/conf-file.js";
import { ConfigError, loadNodeConfig, optionKeys } from "../../src/config/index.js";
import { JsoncError, type JsonValue, parseJsonc } from "../../src/config/jsonc.js";
import { check, fuzzer } from "./fuzzer.js";
import { latin1, mutated, tokenSoup } from "./octets.js";

const tokens = [
  ...[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "//",
    "/*",
    "*/",
    "\n",
    "true",
    "null",
    "1e400",
    "-0",
    "\\u12",
  ],
  ...[
    '"bits": 160',
    '"addr": "127.0.0.1:5000"',
    '"__proto__": 1',
    "\ufeff",
    "[".repeat(20),
    "//x\n",
  ],
];

const depthMax = 8;

export const configJsonc = fuzzer({
  name: "config-jsonc",
  testRuns: 2_000,
  inputs: fc.oneof(
    fc.record({
      json: fc.jsonValue({ maxDepth: depthMax }).map((value) => JSON.stringify(value, null, 1)),
      remark: fc.constantFrom("", " // why\n", "/* a\n * b */", "\n\n"),
    }),
    fc.record({
      octets: fc.oneof(
        tokenSoup(tokens),
        mutated(['{"bits": 160, /* c */ "data": "x"} // e'], tokens),
      ),
    }),
  ),
  run(input) {
    if ("json" in input) {
      // Between tokens only: never inside of a text.
      const text = input.json.replaceAll(/\n/g, `${input.remark}\n`);
      const [read, wanted] = [plain(parseJsonc(text)), JSON.parse(input.json) as unknown];
      check(JSON.stringify(read) === JSON.stringify(wanted), () => `differs: ${text}`);
      return;
    }
    const text = latin1(input.octets);
    try {
      parseConf("file", text);
    } catch (error) {
      check(error instanceof ConfigError, () => `throws ${String(error)}`);
      oneLine(error.message);
    }
    try {
      parseJsonc(text);
    } catch (error) {
      check(error instanceof JsoncError, () => `throws ${String(error)}`);
      const lines = text.split("\n");
      const line = lines[error.line - 1];
      const isInside = line !== undefined && error.column >= 1 && error.column <= line.length + 1;
      check(isInside, () => `${error.line}:${error.column} is nowhere in ${JSON.stringify(text)}`);
    }
  },
});

function plain(value: JsonValue): unknown {
  switch (value.kind) {
    case "array":
      return value.items.map(plain);
    case "object":
      return Object.fromEntries(value.fields.map(({ key, value: field }) => [key, plain(field)]));
    case "null":
      return null;
    default:
      return value.value;
  }
}

function oneLine(message: string): void {
  check(!/[\r\n]/.test(message), () => `several lines: ${JSON.stringify(message)}`);
}

const values = fc.oneof(
  fc.constantFrom("127.0.0.1:5000", "[::1]:25", "160", "0", "-1", "off", "ring.test", "", "info"),
  fc.constantFrom(
    "host",
    ":1",
    "a:99999",
    "[::1",
    "1e3",
    "2/s",
    "always",
    "60",
    "a,b",
    "10.0.0.1:1,x",
  ),
  fc.string({ unit: "binary", maxLength: 20 }),
);

export const configOptions = fuzzer({
  name: "config-options",
  testRuns: 1_500,
  inputs: fc.dictionary(
    fc.constantFrom(...optionKeys.filter((key) => key !== "tls-cert" && key !== "tls-key")),
    fc.array(values, { minLength: 1, maxLength: 2 }),
    { maxKeys: 6 },
  ),
  async run(flags) {
    try {
      const config = await loadNodeConfig({ addr: ["127.0.0.1:5000"], ...flags });
      check(config.bits >= 1 && config.bits <= 160, () => `bits ${config.bits}`);
      check(
        config.id === undefined || config.id >> BigInt(config.bits) === 0n,
        () => "id too large",
      );
      for (const { port } of [config.smtp, config.pop3, config.ring]) {
        check(Number.isInteger(port) && port >= 0 && port < 65_536, () => `port ${port}`);
      }
      check(Object.isFrozen(config), () => "can be changed");
    } catch (error) {
      check(error instanceof ConfigError, () => `throws ${String(error)}`);
    }
  },
});
