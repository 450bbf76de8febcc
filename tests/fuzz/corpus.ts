/** Inputs that once failed, one file each: replayed by `npm test`. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const corpusFolder = fileURLToPath(new URL("./corpus", import.meta.url));

/** JSON in which octets are base64. */
export function encodeInput(input: unknown): string {
  return JSON.stringify(
    input,
    (_key, value: unknown) =>
      // `Buffer.toJSON` would come first for a Buffer; inputs are plain Uint8Arrays.
      value instanceof Uint8Array ? { $octets: Buffer.from(value).toString("base64") } : value,
    1,
  );
}

export function decodeInput(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null || !("$octets" in value)) return value;
    return new Uint8Array(Buffer.from(String(value.$octets), "base64"));
  });
}

export function readCorpus(name: string): { readonly file: string; readonly input: unknown }[] {
  let files: string[];
  try {
    files = readdirSync(join(corpusFolder, name));
  } catch {
    return [];
  }
  return files
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => ({
      file,
      input: decodeInput(readFileSync(join(corpusFolder, name, file), "utf8")),
    }));
}

/** Keeps an input for ever; the path is what it was saved as. */
export function saveToCorpus(name: string, input: unknown): string {
  const text = encodeInput(input);
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const folder = join(corpusFolder, name);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${digest}.json`);
  writeFileSync(path, `${text}\n`);
  return path;
}
