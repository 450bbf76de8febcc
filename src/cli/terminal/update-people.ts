/** Keys of the contacts and of the chats. */
import { emptyField, textOf } from "./field.js";
import { clamped, only, type Screen, type State, type Step } from "./state.js";
import { goTo, moveBy } from "./update-lists.js";
import { type Typed, typedInto } from "./update-login.js";

export function contactsKey(
  state: State,
  screen: Extract<Screen, { kind: "contacts" }>,
  input: Typed,
): Step {
  const { adding } = screen;
  if (adding !== undefined) return addingKey(state, adding, input);
  const { contacts = [], selected } = state;
  const contact = contacts[clamped(selected.contacts, contacts.length)];
  const by = moveBy(input.key, contacts.length, selected.contacts);
  if (by !== undefined) return only({ ...state, selected: { ...selected, contacts: by } });
  if (input.key === "enter" && contact !== undefined) return opened(state, contact.user);
  switch (input.text) {
    case "a":
      return only({ ...state, screen: { kind: "contacts", adding: emptyField } });
    case "d": {
      if (contact === undefined) return only(state);
      const question = `Remove ${contact.user} from your contacts? y/n`;
      const effect = { kind: "removeContact", user: contact.user } as const;
      return only({ ...state, confirm: { question, effect } });
    }
    default:
      return goTo(state, input);
  }
}

function addingKey(
  state: State,
  adding: NonNullable<unknown> & typeof emptyField,
  input: Typed,
): Step {
  const plain: State = { ...state, screen: { kind: "contacts" } };
  if (input.key === "escape") return only(plain);
  if (input.key === "enter") {
    // "bob@ring.test Bob from work": the id, and what they are called.
    const [user = "", ...words] = textOf(adding).trim().split(/\s+/);
    const name = words.join(" ");
    if (user === "") return only(plain);
    const contact = { user, ...(name !== "" && { name }) };
    return { state: plain, effects: [{ kind: "addContact", contact }] };
  }
  const field = typedInto(adding, input);
  return only(
    field === undefined ? state : { ...state, screen: { kind: "contacts", adding: field } },
  );
}

type Chats = Extract<Screen, { kind: "chats" }>;

export function chatsKey(state: State, screen: Chats, input: Typed): Step {
  if (screen.naming !== undefined) return namingKey(state, screen, input);
  if (screen.open !== undefined) return talkKey(state, screen, screen.open, input);
  const { chats = [], selected } = state;
  const by = moveBy(input.key, chats.length, selected.chats);
  if (by !== undefined) return only({ ...state, selected: { ...selected, chats: by } });
  const chat = chats[clamped(selected.chats, chats.length)];
  if ((input.key === "enter" || input.key === "right") && chat) return opened(state, chat.user);
  if (input.text === "n") return only({ ...state, screen: { ...screen, naming: emptyField } });
  return goTo(state, input);
}

function namingKey(state: State, screen: Chats, input: Typed): Step {
  const { naming = emptyField, ...others } = screen;
  if (input.key === "escape") return only({ ...state, screen: others });
  const user = textOf(naming).trim();
  if (input.key === "enter") return user === "" ? only(state) : opened(state, user);
  const field = typedInto(naming, input);
  return only(field === undefined ? state : { ...state, screen: { ...screen, naming: field } });
}

/** As in a phone's messenger: what is typed is written, Enter sends it. */
function talkKey(state: State, screen: Chats, user: string, input: Typed): Step {
  const { open: _closed, ...names } = screen;
  const scrolled = (by: number): Step =>
    only({ ...state, screen: { ...screen, up: Math.max(0, screen.up + by) } });
  switch (input.key) {
    case "escape":
      return only({ ...state, screen: { ...names, text: emptyField, up: 0 } });
    case "pageup":
      return scrolled(10);
    case "pagedown":
      return scrolled(-10);
    case "up":
      return scrolled(1);
    case "down":
      return scrolled(-1);
    case "enter": {
      const text = textOf(screen.text).trim();
      if (text === "") return only(state);
      const cleared: Chats = { ...screen, text: emptyField, up: 0 };
      return { state: { ...state, screen: cleared }, effects: [{ kind: "say", user, text }] };
    }
  }
  const field = typedInto(screen.text, input);
  return only(field === undefined ? state : { ...state, screen: { ...screen, text: field } });
}

function opened(state: State, user: string): Step {
  const { talk: _other, ...rest } = state;
  const screen: Chats = { kind: "chats", open: user, text: emptyField, up: 0 };
  return { state: { ...rest, screen }, effects: [{ kind: "talk", user }, { kind: "chats" }] };
}
