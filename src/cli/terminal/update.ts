/** What follows from what happens: `update(state, event)` is the next state, and what is to be done. */
import { chatsKey, contactsKey } from "./update-people.js";
import { composeKey, folderKey, readingKey } from "./update-mail.js";
import { loginKey, openFolder } from "./update-login.js";
import {
  keyOf,
  only,
  type Effect,
  type Event,
  type Result,
  type State,
  type Step,
} from "./state.js";
import { unreachable } from "../../shared/unreachable.js";

/** Seconds between two looks for new mail, and for new lines of chats. */
const mailEverySeconds = 15;
const chatEverySeconds = 1;

export function update(state: State, event: Event): Step {
  switch (event.kind) {
    case "key":
    case "text":
      return begun(onInput(state, event));
    case "tick":
      return begun(onTick({ ...state, ticks: state.ticks + 1 }));
    case "connection":
      return only({ ...state, connection: event.state });
    case "chat":
      return begun(onChat(state, event));
    case "done":
      return begun(onResult(ended(state, event.effect), event.result));
    case "failed": {
      const notice = { text: event.why, isError: true };
      return only({ ...ended(state, event.effect), notice });
    }
    default:
      return unreachable(event);
  }
}

/** Looks that are under way are not begun again. */
function begun({ state, effects }: Step): Step {
  const fresh = effects.filter(
    (effect) => !(looks.includes(effect.kind) && state.busy.includes(keyOf(effect))),
  );
  return { state: { ...state, busy: [...state.busy, ...fresh.map(keyOf)] }, effects: fresh };
}

const looks: readonly Effect["kind"][] = ["list", "chats", "login", "register"];

function ended(state: State, effect: Effect): State {
  const place = state.busy.indexOf(keyOf(effect));
  return place < 0 ? state : { ...state, busy: state.busy.toSpliced(place, 1) };
}

type Input = Extract<Event, { readonly kind: "key" | "text" }>;

function onInput(before: State, input: Input): Step {
  if (input.kind === "key" && input.key === "ctrl-c") return only({ ...before, isOver: true });
  const { notice: _shown, confirm, ...rest } = before;
  const state: State = rest;
  if (confirm !== undefined) {
    const isYes = input.kind === "text" && /^y$/i.test(input.text);
    return { state, effects: isYes ? [confirm.effect] : [] };
  }
  const key = input.kind === "key" ? input.key : "";
  const text = input.kind === "text" ? input.text : "";
  switch (state.screen.kind) {
    case "login":
      return loginKey(state, state.screen, { key, text });
    case "folder":
      return folderKey(state, state.screen, { key, text });
    case "reading":
      return readingKey(state, state.screen, { key, text });
    case "compose":
      return composeKey(state, state.screen, { key, text });
    case "contacts":
      return contactsKey(state, state.screen, { key, text });
    case "chats":
      return chatsKey(state, state.screen, { key, text });
    default:
      return unreachable(state.screen);
  }
}

/** Shown at once where chats are; elsewhere it is only told. */
function onChat(state: State, { user, line }: Extract<Event, { kind: "chat" }>): Step {
  const { screen } = state;
  if (screen.kind === "chats") {
    const { open } = screen;
    const isOpen = open === user && !state.busy.includes("talk");
    return { state, effects: [{ kind: "chats" }, ...(isOpen ? [talkWith(user)] : [])] };
  }
  // A question that waits for its answer is not covered.
  if (line.state !== "received" || screen.kind === "login" || state.confirm) return only(state);
  return only({ ...state, notice: { text: `${user}: ${line.text}`, isError: false } });
}

const talkWith = (user: string): Effect => ({ kind: "talk", user });

function onTick(state: State): Step {
  const { screen, ticks } = state;
  if (screen.kind === "folder" && ticks % mailEverySeconds === 0) {
    return { state, effects: [{ kind: "list", folder: screen.folder }] };
  }
  if (screen.kind === "chats" && ticks % chatEverySeconds === 0) {
    const { open } = screen;
    const looks: Effect[] = [{ kind: "chats" }];
    if (open !== undefined && !state.busy.includes("talk"))
      looks.push({ kind: "talk", user: open });
    return { state, effects: looks };
  }
  return only(state);
}

function onResult(state: State, result: Result): Step {
  const { screen } = state;
  switch (result.kind) {
    case "loggedIn":
      return openFolder({ ...state, user: result.user }, "inbox");
    case "listed":
      return only({ ...state, mails: { ...state.mails, [result.folder]: result.items } });
    case "opened": {
      if (screen.kind !== "reading" || screen.item.uid !== result.uid) return only(state);
      const mails = (state.mails[screen.folder] ?? []).map((item) =>
        item.uid === result.uid ? { ...item, read: true } : item,
      );
      return only({
        ...state,
        screen: { ...screen, lines: result.lines },
        mails: { ...state.mails, [screen.folder]: mails },
      });
    }
    case "deleted": {
      const { folder, uid } = result;
      const mails = (state.mails[folder] ?? []).filter((item) => item.uid !== uid);
      const isShown = screen.kind === "reading" && screen.item.uid === uid;
      return only({
        ...state,
        mails: { ...state.mails, [folder]: mails },
        ...(isShown && { screen: { kind: "folder", folder } }),
        notice: { text: "Deleted.", isError: false },
      });
    }
    case "sent": {
      const notice = { text: "Sent.", isError: false };
      // The draft was kept until it was taken.
      if (screen.kind !== "compose") return only({ ...state, notice });
      return openFolder({ ...state, notice }, screen.from);
    }
    case "contacts":
      return only({ ...state, contacts: result.contacts });
    case "chats":
      return only({ ...state, chats: result.chats });
    case "talk": {
      const isOpen = screen.kind === "chats" && screen.open === result.user;
      return only(isOpen ? { ...state, talk: { user: result.user, lines: result.lines } } : state);
    }
    default:
      return unreachable(result);
  }
}
