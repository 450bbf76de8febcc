/** What is seen: `view(state, size)` is every line of the window, and where the cursor stands. Pure. */
import { visibleLine } from "../visible.js";
import type { Field } from "./field.js";
import {
  type Line,
  oneLineField,
  type Part,
  type Picture,
  plain,
  type Size,
  type Span,
} from "./picture.js";
import type { State } from "./state.js";
import { fit, widthOf } from "./text.js";
import { viewChats, viewContacts } from "./view-people.js";
import { viewCompose, viewFolder, viewReading } from "./view-mail.js";
import { unreachable } from "../../shared/unreachable.js";

const least: Size = { columns: 40, rows: 10 };
/** Bar above, a line for notices and one for keys below. */
const frameRows = 3;

export function view(state: State, size: Size): Picture {
  const { columns, rows } = size;
  if (columns < least.columns || rows < least.rows) {
    const text = `At least ${least.columns}×${least.rows}, please.`;
    return { lines: filled([plain(fit(text, columns))], rows) };
  }
  const inner = { columns, rows: rows - frameRows };
  const part = partOf(state, inner);
  const body = filled(part.lines, inner.rows).slice(0, inner.rows);
  const { cursor } = part;
  return {
    lines: [bar(state, columns), ...body, noticeLine(state, columns), keyLine(part, columns)],
    ...(cursor !== undefined && { cursor: { row: cursor.row + 1, column: cursor.column } }),
  };
}

const filled = (lines: readonly Line[], rows: number): readonly Line[] => [
  ...lines,
  ...Array.from({ length: Math.max(0, rows - lines.length) }, () => plain("")),
];

function partOf(state: State, size: Size): Part {
  const { screen } = state;
  switch (screen.kind) {
    case "login":
      return viewLogin(screen.form, size);
    case "folder":
      return viewFolder(state, screen, size);
    case "reading":
      return viewReading(screen, size);
    case "compose":
      return viewCompose(screen, size);
    case "contacts":
      return viewContacts(state, screen, size);
    case "chats":
      return viewChats(state, screen, size);
    default:
      return unreachable(screen);
  }
}

const places = ["inbox", "outbox", "contacts", "chats"] as const;

function bar({ user, screen, mails, connection }: State, columns: number): Line {
  if (user === undefined) return [{ text: fit(" Ringpost", columns), style: "bar" }];
  const here =
    "folder" in screen ? screen.folder : screen.kind === "compose" ? screen.from : screen.kind;
  const unread = (mails.inbox ?? []).filter(({ read }) => !read).length;
  const tabs: Span[] = places.map((place, index) => {
    const name = `${place[0]?.toUpperCase()}${place.slice(1)}`;
    const count = place === "inbox" && unread > 0 ? ` (${unread})` : "";
    return { text: ` ${index + 1} ${name}${count} `, style: place === here ? "selected" : "bar" };
  });
  const width = tabs.reduce((sum, { text }) => sum + widthOf(text), 0);
  const who = `${visibleLine(user)}${connection === "offline" ? " · offline" : ""} `;
  const room = columns - width;
  if (room < 0) return [{ text: fit(` ${who}`, columns), style: "bar" }];
  return [...tabs, { text: fit(who, room, "right"), style: "bar" }];
}

function noticeLine({ notice, confirm, busy, connection }: State, columns: number): Line {
  if (confirm !== undefined) {
    return [{ text: fit(visibleLine(confirm.question), columns), style: "bold" }];
  }
  if (notice !== undefined) {
    const text = fit(visibleLine(notice.text), columns);
    return notice.isError ? [{ text, style: "error" }] : plain(text);
  }
  const isAtWork = busy.some((key) => !/^(chats|talk|list)/.test(key));
  const text = isAtWork ? "…" : connection === "offline" ? "No server answers; trying again …" : "";
  return [{ text: fit(text, columns), style: "dim" }];
}

function keyLine({ keys }: Part, columns: number): Line {
  let text = "";
  for (const key of keys) {
    const longer = text === "" ? key : `${text}   ${key}`;
    if (widthOf(longer) > columns) break;
    text = longer;
  }
  return [{ text: fit(text, columns), style: "dim" }];
}

const labels = ["Server", "Name", "Password"] as const;

function viewLogin(
  form: Extract<State["screen"], { kind: "login" }>["form"],
  { columns, rows }: Size,
): Part {
  const left = Math.max(0, Math.floor((columns - 50) / 2));
  const top = Math.max(1, Math.floor(rows / 2) - 4);
  const hidden = ({ before, after }: Field): Field => ({
    before: "•".repeat([...before].length),
    after: "•".repeat([...after].length),
  });
  const fields = [form.server, form.user, hidden(form.password)];
  const width = Math.min(34, columns - left - 14);
  const laid = fields.map((field) => oneLineField(field, width));
  const pad = " ".repeat(left);
  const lines: Line[] = [
    ...Array.from({ length: top }, () => plain("")),
    [{ text: `${pad}Log in to Ringpost`, style: "bold" }],
    plain(""),
    ...laid.map(({ text }, index): Line => {
      const label = fit(labels[index] ?? "", 10);
      const isHere = index === form.focus;
      return [
        { text: `${pad}${label}` },
        { text: `[${text}]`, ...(isHere ? {} : { style: "dim" as const }) },
      ];
    }),
  ];
  const cursor = { row: top + 2 + form.focus, column: left + 11 + (laid[form.focus]?.column ?? 0) };
  return { lines, cursor, keys: ["⏎ log in", "^N new account", "Tab next field", "Esc quit"] };
}
