/** What a window shows, before it is octets for a terminal. */
import { visibleLine } from "../visible.js";
import { type Field, laidOut } from "./field.js";
import { fit } from "./text.js";

export type SpanStyle = "bar" | "selected" | "dim" | "bold" | "mine" | "theirs" | "error";
export interface Span {
  readonly text: string;
  readonly style?: SpanStyle;
}
export type Line = readonly Span[];

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Picture {
  /** As many as the window has rows; none wider than it. */
  readonly lines: readonly Line[];
  /** From 0; absent: nothing is typed. */
  readonly cursor?: { readonly row: number; readonly column: number };
}

/** A part of the window: the rows between the bar and the keys. */
export interface Part extends Picture {
  /** What can be done, for the last line: `⏎ read`. */
  readonly keys: readonly string[];
}

export const plain = (text: string): Line => [{ text }];

/** The end of a field, so that the cursor is seen. */
export function oneLineField(
  field: Field,
  columns: number,
): { readonly text: string; readonly column: number } {
  const { rows, row, column } = laidOut(field, columns);
  return { text: fit(visibleLine(rows[row] ?? ""), columns), column };
}
