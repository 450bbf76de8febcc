/** Keys of the mail lists, of a mail that is read, and of one that is written. */
import type { Folder, MailItem } from "../../sdk/index.js";
import { emptyField, fieldOf, textOf } from "./field.js";
import { clamped, type Draft, only, type Screen, type State, type Step } from "./state.js";
import { openFolder, type Typed, typedInto } from "./update-login.js";
import { goTo, moveBy } from "./update-lists.js";

export function folderKey(
  state: State,
  { folder }: Extract<Screen, { kind: "folder" }>,
  input: Typed,
): Step {
  const items = state.mails[folder] ?? [];
  const item = items[clamped(state.selected[folder], items.length)];
  const by = moveBy(input.key, items.length, state.selected[folder]);
  if (by !== undefined) return only({ ...state, selected: { ...state.selected, [folder]: by } });
  if (input.key === "enter" || input.key === "right") {
    if (item === undefined) return only(state);
    return {
      state: { ...state, screen: { kind: "reading", folder, item, top: 0 } },
      effects: [{ kind: "read", folder, uid: item.uid }],
    };
  }
  switch (input.text) {
    case "c":
      return only({ ...state, screen: { kind: "compose", draft: newDraft, from: folder } });
    case "d":
      return item === undefined ? only(state) : askDelete(state, folder, item);
    case "g":
      return openFolder(state, folder);
    default:
      return goTo(state, input);
  }
}

const newDraft: Draft = { to: emptyField, subject: emptyField, text: emptyField, focus: 0 };

function askDelete(state: State, folder: Folder, { uid, subject }: MailItem): Step {
  const question = `Delete "${subject.slice(0, 40)}"? y/n`;
  return only({ ...state, confirm: { question, effect: { kind: "delete", folder, uid } } });
}

export function readingKey(
  state: State,
  screen: Extract<Screen, { kind: "reading" }>,
  input: Typed,
): Step {
  const { folder, item, top } = screen;
  const scrolled = (to: number): Step =>
    // The view knows how far down there is something.
    only({ ...state, screen: { ...screen, top: Math.max(0, to) } });
  switch (input.key) {
    case "escape":
    case "left":
      return only({ ...state, screen: { kind: "folder", folder } });
    case "up":
      return scrolled(top - 1);
    case "down":
      return scrolled(top + 1);
    case "pageup":
      return scrolled(top - 15);
    case "pagedown":
      return scrolled(top + 15);
    case "home":
      return scrolled(0);
  }
  switch (input.text) {
    case " ":
      return scrolled(top + 15);
    case "d":
      return askDelete(state, folder, item);
    case "r":
      return only({ ...state, screen: { kind: "compose", draft: replyTo(screen), from: folder } });
    default:
      return goTo(state, input);
  }
}

const quotedMax = 200;

function replyTo({ item, lines = [] }: Extract<Screen, { kind: "reading" }>): Draft {
  // The text stands behind the first empty line, after the fields.
  const text = lines.slice(lines.indexOf("") + 1, lines.indexOf("") + 1 + quotedMax);
  const quoted = text.map((line) => `> ${line}`).join("\n");
  const subject = /^re:/i.test(item.subject) ? item.subject : `Re: ${item.subject}`;
  return {
    to: fieldOf(addressIn(item.from)),
    subject: fieldOf(subject.replaceAll(/\p{Cc}+/gu, " ")),
    text: { before: "", after: quoted === "" ? "" : `\n\n${quoted}` },
    focus: 2,
  };
}

/** `Ann <ann@ring.test>` without the name. */
const addressIn = (from: string): string =>
  (/<([^<>\p{Cc}]+)>\s*$/u.exec(from)?.[1] ?? from).replaceAll(/\p{Cc}+/gu, " ").trim();

const parts = ["to", "subject", "text"] as const;

export function composeKey(
  state: State,
  screen: Extract<Screen, { kind: "compose" }>,
  input: Typed,
): Step {
  const { draft, from } = screen;
  const shown = (next: Partial<Draft>): Step =>
    only({ ...state, screen: { ...screen, draft: { ...draft, ...next } } });
  const moved = (by: number) => shown({ focus: ((draft.focus + by + 3) % 3) as Draft["focus"] });
  const isText = draft.focus === 2;
  // What is on its way is not changed under the sender's hands.
  if (state.busy.includes("send")) return only(state);
  switch (input.key) {
    case "escape":
      return only({ ...state, screen: { kind: "folder", folder: from } });
    case "ctrl-x":
      return sent(state, draft);
    case "tab":
      return moved(1);
    case "backtab":
      return moved(-1);
    case "up":
      if (!isText) return moved(draft.focus === 0 ? 0 : -1);
      if (!draft.text.before.includes("\n")) return shown({ focus: 1 });
      break;
    case "down":
    case "enter":
      if (!isText) return moved(1);
      break;
  }
  const part = parts[draft.focus];
  const field = typedInto(draft[part], input, isText);
  return field === undefined ? only(state) : shown({ [part]: field });
}

function sent(state: State, draft: Draft): Step {
  const to = textOf(draft.to)
    .split(/[\s,;]+/)
    .filter((address) => address !== "");
  if (to.length === 0) {
    return only({ ...state, notice: { text: "Please say to whom.", isError: true } });
  }
  const [subject, text] = [textOf(draft.subject), textOf(draft.text)];
  return { state, effects: [{ kind: "send", to, subject, text }] };
}
