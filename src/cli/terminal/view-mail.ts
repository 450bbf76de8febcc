/** The mail lists, a mail that is read, and one that is written. */
import type { MailItem } from "../../sdk/index.js";
import { visibleLine } from "../visible.js";
import { laidOut } from "./field.js";
import { clamped, type Screen, type State } from "./state.js";
import { fit, wrap } from "./text.js";
import { type Line, oneLineField, type Part, plain, type Size } from "./picture.js";

/** The first index that is shown, so that the selected one is. */
export function firstShown(selected: number, length: number, rows: number): number {
  const middle = selected - Math.floor(rows / 2);
  return Math.max(0, Math.min(middle, length - rows));
}

const two = (value: number): string => String(value).padStart(2, "0");
const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
/** By the clock of whoever reads it. */
export const clockText = (date: Date): string =>
  `${two(date.getHours())}:${two(date.getMinutes())}`;
export const dayText = (date: Date): string =>
  `${String(date.getDate()).padStart(2)} ${months[date.getMonth()] ?? ""} ${date.getFullYear()}`;

export function viewFolder(
  state: State,
  { folder }: Extract<Screen, { kind: "folder" }>,
  { columns, rows }: Size,
): Part {
  const items = state.mails[folder];
  const keys = ["↑↓ choose", "⏎ read", "c write", "d delete", "g look", "1-4 go", "q quit"];
  if (items === undefined) return { lines: [plain(""), plain("  Looking …")], keys };
  if (items.length === 0) return { lines: [plain(""), plain("  No mail.")], keys };
  const index = clamped(state.selected[folder], items.length);
  const from = firstShown(index, items.length, rows);
  const lines = items.slice(from, from + rows).map((item, at): Line => {
    const text = mailRow(item, folder, columns);
    if (from + at === index) return [{ text, style: "selected" }];
    return item.read || folder === "outbox" ? plain(text) : [{ text, style: "bold" }];
  });
  return { lines, keys };
}

function mailRow(item: MailItem, folder: "inbox" | "outbox", columns: number): string {
  const { date, read, subject } = item;
  const who = folder === "inbox" ? item.from : item.to;
  const mark = read || folder === "outbox" ? " " : "●";
  const day = date === undefined ? "" : `${dayText(date).slice(0, 6)} ${clockText(date)}`;
  const whoColumns = Math.min(24, Math.floor(columns * 0.3));
  const head = `${mark} ${fit(day, 12)}  ${fit(visibleLine(who), whoColumns)}  `;
  return fit(head + visibleLine(subject === "" ? "(no subject)" : subject), columns);
}

export function viewReading(
  { lines, top }: Extract<Screen, { kind: "reading" }>,
  { columns, rows }: Size,
): Part {
  const keys = ["↑↓ scroll", "r reply", "d delete", "Esc back", "q quit"];
  if (lines === undefined) return { lines: [plain(""), plain("  Opening …")], keys };
  const wrapped = wrappedFrom(lines, { columns, rows }, top);
  return { lines: wrapped.map(plain), keys };
}

/** Not more is wrapped than is scrolled over. */
function wrappedFrom(lines: readonly string[], { columns, rows }: Size, top: number): string[] {
  const wrapped: string[] = [];
  for (const line of lines) {
    wrapped.push(...wrap(line, columns));
    if (wrapped.length >= top + rows) return wrapped.slice(top, top + rows);
  }
  // Farther down than there is text: its end.
  return wrapped.slice(Math.max(0, Math.min(top, wrapped.length - 1)));
}

const labelColumns = 9;

export function viewCompose(
  { draft }: Extract<Screen, { kind: "compose" }>,
  { columns, rows }: Size,
): Part {
  const keys = ["^X send", "Tab next field", "Esc away with it"];
  const width = columns - labelColumns;
  const to = oneLineField(draft.to, width);
  const subject = oneLineField(draft.subject, width);
  const text = laidOut(draft.text, columns);
  const textRows = rows - 3;
  const top = firstShown(text.row, text.rows.length, textRows);
  const lines: Line[] = [
    [{ text: fit("To", labelColumns), style: "dim" }, { text: to.text }],
    [{ text: fit("Subject", labelColumns), style: "dim" }, { text: subject.text }],
    [{ text: "─".repeat(columns), style: "dim" }],
    ...text.rows.slice(top, top + textRows).map((row) => plain(visibleLine(row))),
  ];
  const places = [
    { row: 0, column: labelColumns + to.column },
    { row: 1, column: labelColumns + subject.column },
    { row: 3 + text.row - top, column: text.column },
  ];
  const cursor = places[draft.focus] ?? { row: 0, column: 0 };
  return { lines, cursor, keys };
}
