/** What the keys do that mean the same in every list. */
import { only, type State, type Step } from "./state.js";
import { openFolder, type Typed } from "./update-login.js";
import { emptyField } from "./field.js";

const page = 15;

/** The index after a key that moves; undefined for one that does not. */
export function moveBy(key: string, length: number, index: number): number | undefined {
  const within = (to: number): number => Math.max(0, Math.min(to, length - 1));
  switch (key) {
    case "up":
      return within(index - 1);
    case "down":
      return within(index + 1);
    case "pageup":
      return within(index - page);
    case "pagedown":
      return within(index + page);
    case "home":
      return 0;
    case "end":
      return within(length);
    default:
      return undefined;
  }
}

/** 1 to 4 are the four lists, Tab the next one, q the end. */
export function goTo(state: State, { key, text }: Typed): Step {
  const { screen } = state;
  const place = screen.kind === "folder" || screen.kind === "reading" ? screen.folder : screen.kind;
  const order = ["inbox", "outbox", "contacts", "chats"];
  const wanted = key === "tab" ? ((order.indexOf(place) + 1) % 4) + 1 : Number(text || Number.NaN);
  switch (wanted) {
    case 1:
      return openFolder(state, "inbox");
    case 2:
      return openFolder(state, "outbox");
    case 3:
      return { state: { ...state, screen: { kind: "contacts" } }, effects: [{ kind: "contacts" }] };
    case 4: {
      const chats = { kind: "chats", text: emptyField, up: 0 } as const;
      return { state: { ...state, screen: chats }, effects: [{ kind: "chats" }] };
    }
    default:
      return only(text === "q" ? { ...state, isOver: true } : state);
  }
}
