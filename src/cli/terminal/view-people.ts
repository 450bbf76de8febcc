/** Contacts, and chats as a phone's messenger shows them. */
import type { ChatLine } from "../../sdk/index.js";
import { visibleLine, visibleLines } from "../visible.js";
import { clamped, type Screen, type State } from "./state.js";
import { fit, widthOf, wrap } from "./text.js";
import { type Line, oneLineField, type Part, plain, type Size, type Span } from "./picture.js";
import { clockText, dayText, firstShown } from "./view-mail.js";

export function viewContacts(
  { contacts, selected }: State,
  { adding }: Extract<Screen, { kind: "contacts" }>,
  { columns, rows }: Size,
): Part {
  const keys = ["↑↓ choose", "⏎ chat", "a add", "d remove", "1-4 go", "q quit"];
  const room = rows - (adding === undefined ? 0 : 2);
  const lines: Line[] = [];
  if (contacts === undefined) lines.push(plain(""), plain("  Looking …"));
  else if (contacts.length === 0) lines.push(plain(""), plain("  No contacts yet."));
  else {
    const index = clamped(selected.contacts, contacts.length);
    const from = firstShown(index, contacts.length, room);
    for (const [at, { user, name = "" }] of contacts.slice(from, from + room).entries()) {
      const left = fit(visibleLine(name === "" ? user : name), Math.floor(columns * 0.4));
      const text = fit(`  ${left}  ${name === "" ? "" : visibleLine(user)}`, columns);
      lines.push(from + at === index ? [{ text, style: "selected" }] : plain(text));
    }
  }
  if (adding === undefined) return { lines, keys };
  const label = "Add (id, then a name): ";
  const field = oneLineField(adding, columns - label.length);
  while (lines.length < rows - 1) lines.push(plain(""));
  lines.push([{ text: label, style: "bold" }, { text: field.text }]);
  const cursor = { row: rows - 1, column: label.length + field.column };
  return { lines, cursor, keys: ["⏎ add", "Esc cancel"] };
}

type Chats = Extract<Screen, { kind: "chats" }>;

export function viewChats(state: State, screen: Chats, { columns, rows }: Size): Part {
  const nameColumns = Math.min(26, Math.floor(columns * 0.3));
  const names = nameLines(state, screen, { columns: nameColumns, rows });
  const talk = talkPart(state, screen, { columns: columns - nameColumns - 3, rows });
  const lines = Array.from({ length: rows }, (_, row): Line => {
    const left = names[row] ?? plain(" ".repeat(nameColumns));
    return [...left, { text: " │ ", style: "dim" }, ...(talk.lines[row] ?? [])];
  });
  const { cursor, keys } = talk;
  return {
    ...{ lines, keys },
    ...(cursor && { cursor: { row: cursor.row, column: cursor.column + nameColumns + 3 } }),
  };
}

function nameLines({ chats, contacts, selected }: State, { open }: Chats, size: Size): Line[] {
  const { columns, rows } = size;
  if (chats === undefined) return [plain(fit("Looking …", columns))];
  const called = new Map(contacts?.map(({ user, name }) => [user, name]));
  const chosen = chats.findIndex(({ user }) => user === open);
  const index = open === undefined ? clamped(selected.chats, chats.length) : chosen;
  const perChat = 2;
  const room = Math.floor(rows / perChat);
  const from = firstShown(Math.max(0, index), chats.length, room);
  return chats.slice(from, from + room).flatMap(({ user, last }, at): Line[] => {
    const time = last === undefined ? "" : clockText(last.at);
    const name = fit(visibleLine(called.get(user) ?? user), columns - 6);
    const mine = last !== undefined && last.state !== "received" ? "You: " : "";
    const peek = fit(`  ${visibleLine(mine + (last?.text ?? "").slice(0, 200))}`, columns);
    const isHere = from + at === index;
    return [
      [{ text: `${name} ${fit(time, 5)}`, style: isHere ? "selected" : "bold" }],
      [{ text: peek, style: "dim" }],
    ];
  });
}

function talkPart({ talk, busy }: State, screen: Chats, size: Size): Part {
  const { columns, rows } = size;
  const { open, naming, text, up } = screen;
  if (naming !== undefined) {
    const field = oneLineField(naming, columns - 6);
    const line: Line = [{ text: "With: ", style: "bold" }, { text: field.text }];
    const cursor = { row: 0, column: 6 + field.column };
    return { lines: [line], cursor, keys: ["⏎ open", "Esc cancel"] };
  }
  if (open === undefined) {
    const keys = ["↑↓ choose", "⏎ open", "n new chat", "1-4 go", "q quit"];
    return { lines: [plain(""), plain(fit("Choose a chat, or n for a new one.", columns))], keys };
  }
  const field = oneLineField(text, columns - 2);
  const room = rows - 3;
  const isHere = talk?.user === open;
  const all = isHere ? bubbles(talk.lines, columns) : [plain(busy.includes("talk") ? "…" : "")];
  const end = Math.max(Math.min(room, all.length), all.length - up);
  const shown = all.slice(Math.max(0, end - room), end);
  const above = Array.from({ length: room - shown.length }, () => plain(""));
  const lines: Line[] = [
    [{ text: fit(visibleLine(open), columns), style: "bold" }],
    ...above,
    ...shown,
    [{ text: "─".repeat(columns), style: "dim" }],
    [{ text: "> ", style: "bold" }, { text: field.text }],
  ];
  const cursor = { row: rows - 1, column: 2 + field.column };
  return { lines, cursor, keys: ["⏎ send", "↑↓ scroll", "Esc back"] };
}

const ticks: { readonly [S in ChatLine["state"]]: string } = {
  sending: " ·",
  delivered: " ✓",
  read: " ✓✓",
  failed: " ✗ not delivered",
  received: "",
};
/** Older ones are in the chat, not on the screen. */
const bubblesMax = 500;

/** What the others wrote is on the left, what one wrote oneself on the right. */
function bubbles(lines: readonly ChatLine[], columns: number): Line[] {
  const bubbleMax = Math.max(12, Math.floor(columns * 0.75));
  let day = "";
  return lines.slice(-bubblesMax).flatMap((line): Line[] => {
    const separator: Line[] = [];
    if (dayText(line.at) !== day) {
      day = dayText(line.at);
      separator.push([{ text: centered(day.trim(), columns), style: "dim" }]);
    }
    return [...separator, ...bubble(line, { columns, bubbleMax })];
  });
}

function bubble(
  { text, at, state }: ChatLine,
  { columns, bubbleMax }: { readonly columns: number; readonly bubbleMax: number },
): Line[] {
  const isMine = state !== "received";
  const rows = visibleLines(text).flatMap((line) => wrap(line, bubbleMax - 2));
  const foot = `${clockText(at)}${ticks[state]}`;
  // The time goes behind the last words where there is room, as on a phone.
  const last = rows.at(-1) ?? "";
  const isRoom = widthOf(last) + 2 + widthOf(foot) <= bubbleMax - 2;
  const all = isRoom ? rows.slice(0, -1) : rows;
  const width = Math.max(
    ...all.map(widthOf),
    widthOf(foot),
    isRoom ? widthOf(last) + 2 + widthOf(foot) : 0,
  );
  const end = isRoom
    ? last + " ".repeat(width - widthOf(last) - widthOf(foot)) + foot
    : fit(foot, width, "right");
  const indent = isMine ? " ".repeat(Math.max(0, columns - width - 2)) : "";
  const style: NonNullable<Span["style"]> = isMine ? "mine" : "theirs";
  return [...all, end].map((row) => [
    { text: indent },
    { text: ` ${fit(row, width)} `, style: state === "failed" ? "error" : style },
  ]);
}

const centered = (text: string, columns: number): string =>
  " ".repeat(Math.max(0, Math.floor((columns - widthOf(text)) / 2))) + text;
