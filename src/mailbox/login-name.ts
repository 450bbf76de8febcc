import { createHash } from "node:crypto";
import { parseLogin } from "../mime/address.js";
import type { MailboxName } from "../shared/ids.js";
import type { Identity } from "./authentication.js";

/** Whom a client says it is. */
export interface Who {
  /** Undefined: no account can have that name. */
  readonly mailbox: MailboxName | undefined;
  readonly folder: Identity["folder"];
  /** By which tries are counted: one for all spellings of a name, bounded in length. */
  readonly key: string;
}

const outboxSuffix = "/outbox";

/** `alice`, `alice@ring.test`, and either with `/outbox` behind it (no local part contains `/`). */
export function parseWho(username: string, domain: string): Who {
  const isOutbox = username.toLowerCase().endsWith(outboxSuffix);
  const name = isOutbox ? username.slice(0, -outboxSuffix.length) : username;
  const mailbox = parseLogin(name, domain);
  const digest = (): string => createHash("sha256").update(name).digest("base64url");
  return { mailbox, folder: isOutbox ? "outbox" : "inbox", key: mailbox ?? `name:${digest()}` };
}

/** Whether `authorizationId` (RFC 4422 §2; "" for none) is another name of the same account. */
export function isSelf(authorizationId: string, who: Who, domain: string): boolean {
  return authorizationId === "" || parseWho(authorizationId, domain).key === who.key;
}
