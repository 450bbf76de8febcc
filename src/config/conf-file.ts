import { readFile, stat } from "node:fs/promises";
import { ConfigError } from "./config-error.js";
import { type JsonField, JsoncError, type JsonValue, parseJsonc } from "./jsonc.js";
import { nearest } from "./nearest.js";
import type { OptionKey } from "./option-values.js";
import { fileKeys, optionOfFileKey, optionSpecs } from "./options.js";

const confOctetsMax = 1024 * 1024;

/** An option as somebody wrote it, and where, for the error message. */
export interface RawOption {
  readonly key: OptionKey;
  readonly text: string;
  /** `--bits 200` or `chord.jsonc:4: "bits" 200`. */
  readonly origin: string;
}

/**
 * Reads a conf file: an object whose keys are the options' names.
 * @throws ConfigError naming the file and, where there is one, the line and the key
 */
export async function readConfFile(path: string): Promise<readonly RawOption[]> {
  return parseConf(path, await readText(path));
}

export function parseConf(path: string, text: string): readonly RawOption[] {
  const root = parseText(path, text);
  if (root.kind !== "object") {
    throw new ConfigError(`${path}:${root.line}: must be one { … } with options as its keys`);
  }
  return root.fields.flatMap((field) => readOption(path, field));
}

async function readText(path: string): Promise<string> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw new ConfigError(`--conf ${path}: is a directory, name a file`);
    if (info.size > confOctetsMax) throw new ConfigError(`--conf ${path}: is larger than 1 MiB`);
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") {
      throw new ConfigError(`--conf ${path}: there is no such file; check the path`);
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new ConfigError(`--conf ${path}: may not be read by this user; check its permissions`);
    }
    throw new ConfigError(`--conf ${path}: can't be read (${code ?? String(error)})`);
  }
}

function parseText(path: string, text: string): JsonValue {
  try {
    return parseJsonc(text);
  } catch (error) {
    if (!(error instanceof JsoncError)) throw error;
    throw new ConfigError(`${path}:${error.line}:${error.column}: ${error.message}`);
  }
}

function readOption(path: string, { key: fileKey, line, value }: JsonField): readonly RawOption[] {
  const at = `${path}:${line}: `;
  const key = optionOfFileKey(fileKey);
  if (key === undefined) {
    const meant = nearest(fileKey, fileKeys);
    const hint =
      meant === undefined ? `known keys: ${fileKeys.join(", ")}` : `did you mean "${meant}"?`;
    throw new ConfigError(`${at}unknown key ${JSON.stringify(fileKey)}; ${hint}`);
  }
  if (key === "limit" && value.kind === "object") {
    return value.fields.map((field) => readLimit(path, field));
  }
  const text = valueText(key, value);
  if (text === undefined) {
    const wanted = typesInWords(key);
    throw new ConfigError(`${at}"${fileKey}" must be ${wanted}, not ${inWords(value)}`);
  }
  const shown = value.kind === "number" ? text : JSON.stringify(text);
  const isSecret = optionSpecs[key].isSecret === true;
  return [{ key, text, origin: `${at}"${fileKey}"${isSecret ? "" : ` ${shown}`}` }];
}

/** One of `"limits": { … }`, as `--limit` would give it. */
function readLimit(path: string, { key: name, line, value }: JsonField): RawOption {
  const origin = `${path}:${line}: limits: ${JSON.stringify(name)}`;
  if (value.kind === "number") {
    return { key: "limit", text: `${name}=${value.text}`, origin: `${origin} ${value.text}` };
  }
  if (value.kind === "string") {
    const shown = JSON.stringify(value.value);
    return { key: "limit", text: `${name}=${value.value}`, origin: `${origin} ${shown}` };
  }
  throw new ConfigError(`${origin} must be a number, or a size as "64K", not ${inWords(value)}`);
}

/** The value as the command line would give it; undefined when it is of a wrong type. */
function valueText(key: OptionKey, value: JsonValue): string | undefined {
  const { fileTypes } = optionSpecs[key];
  switch (value.kind) {
    case "string":
      return fileTypes.includes("string") ? value.value : undefined;
    case "number":
      // The text, not the value: an id of 160 bits does not fit a double.
      return fileTypes.includes("number") ? value.text : undefined;
    case "array":
      return fileTypes.includes("array") ? listText(value.items) : undefined;
    case "boolean":
    case "null":
    case "object":
      return undefined;
  }
}

function listText(items: readonly JsonValue[]): string | undefined {
  const texts = items.flatMap((item) => (item.kind === "string" ? [item.value] : []));
  return texts.length === items.length && texts.length > 0 ? texts.join(",") : undefined;
}

function typesInWords(key: OptionKey): string {
  const words = {
    string: "a text in double quotes",
    number: "a number",
    array: "a list of texts",
    object: "an object",
  };
  return optionSpecs[key].fileTypes.map((type) => words[type]).join(" or ");
}

function inWords(value: JsonValue): string {
  switch (value.kind) {
    case "string":
      return "a text";
    case "number":
      return "a number";
    case "boolean":
      return String(value.value);
    case "null":
      return "null";
    case "array":
      return value.items.length === 0 ? "an empty list" : "a list";
    case "object":
      return "an object";
  }
}
