/**
 * JSON (RFC 8259) with `//` and `/* … *\/` comments and trailing commas, as editors know it.
 * `JSON.parse` is not enough: its errors don't reliably tell where, and it can't say on which line
 * a key stands, which is what the user of a configuration file has to know.
 */
export type JsonValue =
  | { readonly kind: "string"; readonly value: string; readonly line: number }
  | {
      readonly kind: "number";
      readonly value: number;
      readonly text: string;
      readonly line: number;
    }
  | { readonly kind: "boolean"; readonly value: boolean; readonly line: number }
  | { readonly kind: "null"; readonly line: number }
  | { readonly kind: "array"; readonly items: readonly JsonValue[]; readonly line: number }
  | { readonly kind: "object"; readonly fields: readonly JsonField[]; readonly line: number };

export interface JsonField {
  readonly key: string;
  readonly line: number;
  readonly value: JsonValue;
}

export class JsoncError extends Error {
  override readonly name = "JsoncError";
  constructor(
    readonly line: number,
    readonly column: number,
    message: string,
  ) {
    super(message);
  }
}

const depthMax = 16;
const numberToken = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// Escapes are checked by JSON.parse; here only the extent of the token matters.
const stringToken = /"(?:[^"\\\n\r]|\\.)*"/y;
const wordToken = /[A-Za-z_$][\w$]*/y;
const blankToken = /(?:[ \t\r\n\uFEFF]|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;

/** @throws JsoncError with line and column, both counted from 1 */
export function parseJsonc(text: string): JsonValue {
  const reader = new Reader(text);
  const value = readValue(reader, 0);
  reader.skipBlank();
  if (!reader.atEnd) reader.fail(`expected the end of the file, found ${reader.found()}`);
  return value;
}

class Reader {
  private at = 0;
  private lineCount = 1;
  private countedTo = 0;
  constructor(private readonly text: string) {}

  get atEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** Of the place reached. Counted on from the last time: a large file is looked through once. */
  get line(): number {
    for (let end = this.text.indexOf("\n", this.countedTo); end >= 0 && end < this.at; ) {
      this.lineCount += 1;
      this.countedTo = end + 1;
      end = this.text.indexOf("\n", this.countedTo);
    }
    return this.lineCount;
  }

  skipBlank(): void {
    this.token(blankToken);
    if (this.text.startsWith("/*", this.at)) this.fail("this comment is never closed");
  }

  peek(): string {
    return this.text.charAt(this.at);
  }

  /** Consumes `char` when it comes next. */
  takes(char: string): boolean {
    if (this.peek() !== char) return false;
    this.at += char.length;
    return true;
  }

  token(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text)?.[0];
    this.at += match?.length ?? 0;
    return match;
  }

  found(): string {
    return this.atEnd ? "the end of the file" : JSON.stringify(this.peek());
  }

  fail(message: string, at = this.at): never {
    const before = this.text.slice(0, at).split("\n");
    throw new JsoncError(before.length, (before.at(-1)?.length ?? 0) + 1, message);
  }

  get position(): number {
    return this.at;
  }
}

function readValue(reader: Reader, depth: number): JsonValue {
  reader.skipBlank();
  if (depth > depthMax) reader.fail("nested too deeply");
  const line = reader.line;
  if (reader.takes("{")) return { kind: "object", fields: readFields(reader, depth), line };
  if (reader.takes("[")) return { kind: "array", items: readItems(reader, depth), line };
  if (reader.peek() === '"') return { kind: "string", value: readString(reader), line };
  const start = reader.position;
  const number = reader.token(numberToken);
  if (number !== undefined) return { kind: "number", value: Number(number), text: number, line };
  const word = reader.token(wordToken);
  if (word === "true" || word === "false") return { kind: "boolean", value: word === "true", line };
  if (word === "null") return { kind: "null", line };
  const found = word === undefined ? reader.found() : `${word} (text needs double quotes)`;
  return reader.fail(`expected a value, found ${found}`, start);
}

function readString(reader: Reader): string {
  const start = reader.position;
  const token = reader.token(stringToken);
  if (token === undefined) reader.fail("this text is never closed; add a double quote", start);
  try {
    return JSON.parse(token) as string;
  } catch {
    return reader.fail('bad escape or control character; write \\\\ for "\\"', start);
  }
}

function readFields(reader: Reader, depth: number): JsonField[] {
  const fields: JsonField[] = [];
  const keys = new Set<string>();
  for (;;) {
    reader.skipBlank();
    if (reader.takes("}")) return fields;
    if (reader.peek() !== '"') reader.fail(`expected "key" or }, found ${reader.found()}`);
    const line = reader.line;
    const start = reader.position;
    const key = readString(reader);
    if (keys.has(key)) reader.fail(`"${key}" is given twice`, start);
    reader.skipBlank();
    if (!reader.takes(":")) reader.fail(`expected : after "${key}", found ${reader.found()}`);
    keys.add(key);
    fields.push({ key, line, value: readValue(reader, depth + 1) });
    reader.skipBlank();
    if (reader.takes(",")) continue;
    if (reader.peek() !== "}") reader.fail(`expected , or }, found ${reader.found()}`);
  }
}

function readItems(reader: Reader, depth: number): JsonValue[] {
  const items: JsonValue[] = [];
  for (;;) {
    reader.skipBlank();
    if (reader.takes("]")) return items;
    items.push(readValue(reader, depth + 1));
    reader.skipBlank();
    if (reader.takes(",")) continue;
    if (reader.peek() !== "]") reader.fail(`expected , or ], found ${reader.found()}`);
  }
}
