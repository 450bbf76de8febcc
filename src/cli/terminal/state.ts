/** What the terminal client knows and shows, what happens to it, and what it wants done. */
import type { ChatLine, Folder, MailItem } from "../../sdk/index.js";
import type { Contact } from "../../ebm/index.js";
import { emptyField, type Field, fieldOf } from "./field.js";

export interface Draft {
  readonly to: Field;
  readonly subject: Field;
  readonly text: Field;
  /** Which of the three is typed in. */
  readonly focus: 0 | 1 | 2;
}

export interface LoginForm {
  readonly server: Field;
  readonly user: Field;
  readonly password: Field;
  readonly focus: 0 | 1 | 2;
}

export type Screen =
  | { readonly kind: "login"; readonly form: LoginForm }
  | { readonly kind: "folder"; readonly folder: Folder }
  | {
      readonly kind: "reading";
      readonly folder: Folder;
      readonly item: MailItem;
      /** Fit for a terminal, not wrapped; absent while it is fetched. */
      readonly lines?: readonly string[];
      readonly top: number;
    }
  | { readonly kind: "compose"; readonly draft: Draft; readonly from: Folder }
  | { readonly kind: "contacts"; readonly adding?: Field }
  | {
      readonly kind: "chats";
      /** With whom; absent: the names are chosen from. */
      readonly open?: string;
      /** Somebody new is being named. */
      readonly naming?: Field;
      readonly text: Field;
      /** Lines scrolled up from the end. */
      readonly up: number;
    };

export interface ChatName {
  readonly user: string;
  readonly last: ChatLine | undefined;
}

export interface State {
  readonly user?: string;
  readonly screen: Screen;
  /** Absent: not fetched yet. */
  readonly mails: { readonly [F in Folder]?: readonly MailItem[] };
  readonly contacts?: readonly Contact[];
  readonly chats?: readonly ChatName[];
  /** Of the chat that is open. */
  readonly talk?: { readonly user: string; readonly lines: readonly ChatLine[] };
  /** By what is selected in each list: an index that is clamped when it is used. */
  readonly selected: {
    readonly inbox: number;
    readonly outbox: number;
    readonly contacts: number;
    readonly chats: number;
  };
  readonly notice?: { readonly text: string; readonly isError: boolean };
  /** Done if the next key is y. */
  readonly confirm?: { readonly question: string; readonly effect: Effect };
  /** Effects under way, by `keyOf`. */
  readonly busy: readonly string[];
  readonly connection: "connected" | "offline";
  readonly ticks: number;
  readonly isOver: boolean;
}

export type Effect =
  | {
      readonly kind: "login" | "register";
      readonly server: string;
      readonly user: string;
      readonly password: string;
    }
  | { readonly kind: "list"; readonly folder: Folder }
  | { readonly kind: "read"; readonly folder: Folder; readonly uid: string }
  | { readonly kind: "delete"; readonly folder: Folder; readonly uid: string }
  | {
      readonly kind: "send";
      readonly to: readonly string[];
      readonly subject: string;
      readonly text: string;
    }
  | { readonly kind: "contacts" }
  | { readonly kind: "addContact"; readonly contact: Contact }
  | { readonly kind: "removeContact"; readonly user: string }
  | { readonly kind: "chats" }
  | { readonly kind: "talk"; readonly user: string }
  | { readonly kind: "say"; readonly user: string; readonly text: string };

export type Result =
  | { readonly kind: "loggedIn"; readonly user: string }
  | { readonly kind: "listed"; readonly folder: Folder; readonly items: readonly MailItem[] }
  | { readonly kind: "opened"; readonly uid: string; readonly lines: readonly string[] }
  | { readonly kind: "deleted"; readonly folder: Folder; readonly uid: string }
  | { readonly kind: "sent" }
  | { readonly kind: "contacts"; readonly contacts: readonly Contact[] }
  | { readonly kind: "chats"; readonly chats: readonly ChatName[] }
  | { readonly kind: "talk"; readonly user: string; readonly lines: readonly ChatLine[] };

export type Event =
  /** A key by its name (`up`, `enter`, `ctrl-x`), or text that was typed. */
  | { readonly kind: "key"; readonly key: string }
  | { readonly kind: "text"; readonly text: string }
  /** Every second. */
  | { readonly kind: "tick" }
  | { readonly kind: "connection"; readonly state: "connected" | "offline" }
  /** A line of a chat came, or one of ours got somewhere. */
  | { readonly kind: "chat"; readonly user: string; readonly line: ChatLine }
  | { readonly kind: "done"; readonly effect: Effect; readonly result: Result }
  | { readonly kind: "failed"; readonly effect: Effect; readonly why: string };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** Of effects with the same key one is enough at a time. */
export const keyOf = (effect: Effect): string =>
  effect.kind === "list" ? `list ${effect.folder}` : effect.kind;

export const only = (state: State): Step => ({ state, effects: [] });

export function firstState({ server, user = "" }: { server: string; user?: string }): State {
  const form: LoginForm = {
    ...{ server: fieldOf(server), user: fieldOf(user), password: emptyField },
    focus: user === "" ? 1 : 2,
  };
  return {
    screen: { kind: "login", form },
    mails: {},
    selected: { inbox: 0, outbox: 0, contacts: 0, chats: 0 },
    busy: [],
    connection: "connected",
    ticks: 0,
    isOver: false,
  };
}

/** The index that is selected, or -1 in an empty list. */
export const clamped = (index: number, length: number): number =>
  Math.max(-1, Math.min(index, length - 1));
