/** Does what the model wants done, over the SDK. */
import type { MailViewer } from "../../mail-view/viewer.js";
import type { ConnectOptions, Ringpost } from "../../sdk/index.js";
import { unreachable } from "../../shared/unreachable.js";
import { oneLine } from "../errors.js";
import { mailLines } from "../mail-text.js";
import type { Effect, Event, Result } from "./state.js";

export interface EffectPorts {
  readonly connect: (options: ConnectOptions) => Promise<Ringpost>;
  /** Where this user's journal is; absent: memory. */
  readonly storeFor: (server: string, user: string) => string | undefined;
  readonly viewer: MailViewer;
  /** Tells the model; at any time, also after the effect that led to it. */
  readonly tell: (event: Event) => void;
  readonly signal: AbortSignal;
}

export interface Effects {
  run(effect: Effect): void;
  /** Ends the session. Never rejects. */
  close(): Promise<void>;
}

const readMs = 10_000;

export function createEffects(ports: EffectPorts): Effects {
  const { tell, signal } = ports;
  let client: Ringpost | undefined;

  async function logIn({
    kind,
    server,
    user,
    password,
  }: Extract<Effect, { kind: "login" | "register" }>): Promise<Result> {
    await client?.close();
    const store = ports.storeFor(server, user);
    const servers = server.split(/[\s,]+/).filter((one) => one !== "");
    const made = await ports.connect({ servers, signal, ...(store !== undefined && { store }) });
    try {
      await (kind === "login" ? made.login({ user, password }) : made.register({ user, password }));
    } catch (error) {
      await made.close().catch(() => undefined);
      throw error;
    }
    client = made;
    made.on("status", ({ state }) => {
      if (state === "connected" || state === "offline") tell({ kind: "connection", state });
    });
    made.on("chat", ({ user: other, line }) => tell({ kind: "chat", user: other, line }));
    return { kind: "loggedIn", user: made.user ?? user };
  }

  function loggedIn(): Ringpost {
    if (client === undefined) throw new Error("not logged in");
    return client;
  }

  async function done(effect: Effect): Promise<Result> {
    switch (effect.kind) {
      case "login":
      case "register":
        return await logIn(effect);
      case "list": {
        const { folder } = effect;
        const items = await loggedIn().mailbox.list(folder);
        // The newest on top.
        return { kind: "listed", folder, items: items.toReversed() };
      }
      case "read": {
        const { folder, uid } = effect;
        const mail = await loggedIn().mailbox.read(folder, uid);
        const seen = await ports.viewer.view(mail, { deadlineMs: readMs });
        // That it counts as new is no reason not to show it.
        if (folder === "inbox")
          await loggedIn()
            .mailbox.markRead([uid])
            .catch(() => undefined);
        return { kind: "opened", uid, lines: mailLines(mail, seen) };
      }
      case "delete": {
        const { folder, uid } = effect;
        await loggedIn().mailbox.delete(folder, [uid]);
        return { kind: "deleted", folder, uid };
      }
      case "send": {
        const { to, subject, text } = effect;
        await loggedIn().mailbox.send({ to, subject, text });
        return { kind: "sent" };
      }
      case "contacts":
        return await contacts();
      case "addContact":
        await loggedIn().contacts.add(effect.contact);
        return await contacts();
      case "removeContact":
        await loggedIn().contacts.remove(effect.user);
        return await contacts();
      case "chats":
        return { kind: "chats", chats: [...(await loggedIn().chats.list())] };
      case "talk":
        return await talk(effect.user);
      case "say":
        await (await loggedIn().chats.open(effect.user)).send(effect.text);
        return await talk(effect.user);
      default:
        return unreachable(effect);
    }
  }

  const contacts = async (): Promise<Result> => {
    return { kind: "contacts", contacts: await loggedIn().contacts.list() };
  };
  const talk = async (user: string): Promise<Result> => {
    const { messages } = await loggedIn().chats.open(user);
    return { kind: "talk", user, lines: [...messages] };
  };

  return {
    run(effect) {
      done(effect).then(
        (result) => tell({ kind: "done", effect, result }),
        (error: unknown) => {
          const why = oneLine(error instanceof Error ? error.message : String(error));
          tell({ kind: "failed", effect, why });
        },
      );
    },
    close: async () => {
      await client?.close().catch(() => undefined);
      await ports.viewer.close();
    },
  };
}
