/** A text that is being typed, and where the cursor is. Pure. */
import { graphemes, widthOf } from "./text.js";

export interface Field {
  readonly before: string;
  readonly after: string;
}

export const emptyField: Field = { before: "", after: "" };
export const fieldOf = (text: string): Field => ({ before: text, after: "" });
export const textOf = ({ before, after }: Field): string => before + after;

/** Of one field: what is pasted beyond is dropped. */
const charsMax = 64 * 1024;

const last = (text: string): string => graphemes(text.slice(-64)).at(-1) ?? "";
const first = (text: string): string => graphemes(text.slice(0, 64))[0] ?? "";

/** The field after a key that edits; undefined for one that does not. */
export function edited(field: Field, key: string, isMultiline = false): Field | undefined {
  const { before, after } = field;
  switch (key) {
    case "backspace":
      return { before: before.slice(0, before.length - last(before).length), after };
    case "delete":
      return { before, after: after.slice(first(after).length) };
    case "left": {
      const char = last(before);
      return { before: before.slice(0, before.length - char.length), after: char + after };
    }
    case "right": {
      const char = first(after);
      return { before: before + char, after: after.slice(char.length) };
    }
    case "home":
      return at(field, lineStart(before));
    case "end":
      return at(field, before.length + lineEnd(after));
    case "ctrl-u":
      return { before: before.slice(0, lineStart(before)), after };
    case "up":
      return isMultiline ? lineUp(field) : undefined;
    case "down":
      return isMultiline ? lineDown(field) : undefined;
    case "enter":
      return isMultiline ? typed(field, "\n") : undefined;
    default:
      return undefined;
  }
}

export function typed({ before, after }: Field, text: string): Field {
  const room = charsMax - before.length - after.length;
  // Control characters are keys, not text; what is pasted may have some.
  return {
    before: before + text.replaceAll(/[^\P{Cc}\n]/gu, "").slice(0, Math.max(room, 0)),
    after,
  };
}

const lineStart = (before: string): number => before.lastIndexOf("\n") + 1;
const lineEnd = (after: string): number =>
  after.includes("\n") ? after.indexOf("\n") : after.length;

function at(field: Field, index: number): Field {
  const text = textOf(field);
  return { before: text.slice(0, index), after: text.slice(index) };
}

function lineUp(field: Field): Field {
  const start = lineStart(field.before);
  if (start === 0) return at(field, 0);
  const above = lineStart(field.before.slice(0, start - 1));
  return at(field, Math.min(above + field.before.length - start, start - 1));
}

function lineDown(field: Field): Field {
  const { before, after } = field;
  const end = lineEnd(after);
  if (end === after.length) return at(field, before.length + end);
  const below = before.length + end + 1;
  const length = lineEnd(after.slice(end + 1));
  return at(field, below + Math.min(before.length - lineStart(before), length));
}

export interface LaidOut {
  readonly rows: readonly string[];
  /** Of the cursor, from 0. */
  readonly row: number;
  readonly column: number;
}

/** The field in lines of `columns`, hard-wrapped so that the cursor stays where it is typed. */
export function laidOut(field: Field, columns: number): LaidOut {
  const rows: string[] = [""];
  let width = 0;
  const put = (text: string): void => {
    for (const char of graphemes(text)) {
      const wide = char === "\n" ? 0 : widthOf(char);
      if (char === "\n" || width + wide > columns - 1) {
        rows.push("");
        width = 0;
      }
      if (char === "\n") continue;
      rows[rows.length - 1] += char;
      width += wide;
    }
  };
  put(field.before);
  const [row, column] = [rows.length - 1, width];
  put(field.after);
  return { rows, row, column };
}
