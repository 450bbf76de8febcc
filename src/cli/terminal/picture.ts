/** What a window shows, before it is octets for a terminal. */
import { visibleLine } from "../visible.js";
import type { Field } from "./field.js";
import { cutTo, fit, graphemes, widthOf } from "./text.js";

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

/** As much of a field as fits, with the cursor in it. */
export function oneLineField(
  { before, after }: Field,
  columns: number,
): { readonly text: string; readonly column: number } {
  // The last column is the cursor's, behind the text.
  let start = visibleLine(before);
  const chars = graphemes(start.slice(-4 * columns));
  if (widthOf(start) > columns - 1) {
    start = "";
    while (widthOf((chars.at(-1) ?? "") + start) <= columns - 1 && chars.length > 0) {
      start = (chars.pop() ?? "") + start;
    }
  }
  const column = widthOf(start);
  const end = cutTo(visibleLine(after.slice(0, 4 * columns)), columns - column);
  return { text: fit(start + end, columns), column };
}
