/** The form before everything, and where one goes from there. */
import { edited, type Field, textOf, typed } from "./field.js";
import { only, type LoginForm, type Screen, type State, type Step } from "./state.js";
import type { Folder } from "../../sdk/index.js";

export interface Typed {
  /** A key's name, or "". */
  readonly key: string;
  /** What was typed, or "". */
  readonly text: string;
}

/** The field after what was typed; undefined when that edits nothing. */
export const typedInto = (field: Field, { key, text }: Typed, isMultiline = false) =>
  text === "" ? edited(field, key, isMultiline) : typed(field, text);

const fields = ["server", "user", "password"] as const;

export function loginKey(
  state: State,
  { form }: Extract<Screen, { kind: "login" }>,
  input: Typed,
): Step {
  const shown = (next: LoginForm): Step =>
    only({ ...state, screen: { kind: "login", form: next } });
  const moved = (by: number) =>
    shown({ ...form, focus: ((form.focus + by + 3) % 3) as LoginForm["focus"] });
  if (state.busy.includes("login") || state.busy.includes("register")) return only(state);
  switch (input.key) {
    case "escape":
      return only({ ...state, isOver: true });
    case "tab":
    case "down":
      return moved(1);
    case "backtab":
    case "up":
      return moved(-1);
    case "enter":
      return form.focus === 2 ? submitted(state, form, "login") : moved(1);
    case "ctrl-n":
      return submitted(state, form, "register");
    default: {
      const name = fields[form.focus];
      const field = typedInto(form[name], input);
      return field === undefined ? only(state) : shown({ ...form, [name]: field });
    }
  }
}

function submitted(state: State, form: LoginForm, kind: "login" | "register"): Step {
  const server = textOf(form.server).trim();
  const user = textOf(form.user).trim();
  const password = textOf(form.password);
  const lacking = server === "" ? "a server" : user === "" ? "a name" : "a password";
  if (server === "" || user === "" || password === "") {
    return only({ ...state, notice: { text: `Please give ${lacking}.`, isError: true } });
  }
  return { state, effects: [{ kind, server, user, password }] };
}

export function openFolder(state: State, folder: Folder): Step {
  return {
    state: { ...state, screen: { kind: "folder", folder } },
    effects: [{ kind: "list", folder }],
  };
}
