import { createHash } from "node:crypto";
import { parseLogin } from "../mime/address.js";
import type { MailboxName } from "../shared/ids.js";
import type { Identity } from "./authentication.js";
import type { Folder } from "./folders.js";

/** Whom a client says it is. */
export interface Who {
  /** Undefined: no account can have that name. */
  readonly mailbox: MailboxName | undefined;
  readonly opens: Pick<Identity, "folder" | "queue">;
  /** By which tries are counted: one for all spellings of a name, bounded in length. */
  readonly key: string;
}

/** No local part contains `/`. Of queues, so many names as fit: `?orders,bills`. */
const suffix = /\/(?:(outbox|config|data)|queue\/([^/?]{1,64}|\?[^/?]{1,6000}))$/i;

/**
 * `alice` or `alice@ring.test`, and either with `/outbox` or another folder, or `/queue/orders`, behind it;
 * `/queue/?orders,bills` asks which of these queues are worth a look.
 */
export function parseWho(username: string, domain: string): Who {
  const [end = "", folder, queue] = suffix.exec(username) ?? [];
  const name = username.slice(0, username.length - end.length);
  const mailbox = parseLogin(name, domain);
  const digest = (): string => createHash("sha256").update(name).digest("base64url");
  return { mailbox, opens: opensOf(folder, queue), key: mailbox ?? `name:${digest()}` };
}

function opensOf(folder: string | undefined, queue: string | undefined): Who["opens"] {
  if (queue !== undefined) return { folder: "queue", queue: queue.toLowerCase() };
  return { folder: (folder?.toLowerCase() as Folder | undefined) ?? "inbox" };
}

/** Whether `authorizationId` (RFC 4422 §2; "" for none) is another name of the same account. */
export function isSelf(authorizationId: string, who: Who, domain: string): boolean {
  return authorizationId === "" || parseWho(authorizationId, domain).key === who.key;
}
