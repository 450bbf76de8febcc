/** Why something was not done, and how that is said at the end of a mail. */
import type { RefusalCode } from "../../ebm/index.js";
import type { RingReply } from "../../mailbox/ports.js";

export interface Refusal {
  readonly ok: false;
  readonly code: RefusalCode;
  readonly why: string;
}

export const refuse = (code: RefusalCode, why: string): Refusal => ({ ok: false, code, why });
export const denied = (why: string): Refusal => refuse("denied", why);
export const undecided = (): Refusal =>
  refuse("undecided", "too few members answer, try again later");

/** Those that may go well later are said with 4xx: RFC 5321 §4.2.1. */
export function refusalReply({ code, why }: Refusal): RingReply {
  const text = `ebm=${code} ${why}`;
  if (code === "undecided") return { code: 451, status: "4.3.0", text };
  if (code === "throttled") return { code: 451, status: "4.7.0", text };
  if (code === "full") return { code: 452, status: "4.2.2", text };
  return { code: 550, status: "5.7.1", text };
}
