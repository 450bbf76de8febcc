/** Who may do what with an exchange or a queue. Pure. */
import type { Permitted } from "../../ebm/index.js";
import { parseLogin } from "../../mime/address.js";
import type { MailboxName } from "../../shared/ids.js";
import { brokerLimits } from "./limits.js";

/** `permitted` beside the owner, who may do everything. */
export function isPermitted(user: MailboxName, owner: MailboxName, permitted: Permitted): boolean {
  if (user === owner || permitted === "everyone") return true;
  return permitted !== "owner" && permitted.includes(user);
}

/** In one spelling, without repetitions; undefined: too many, or not names of users. */
export function canonicalPermitted(
  permitted: Permitted | undefined,
  domain: string,
): Permitted | undefined {
  if (permitted === undefined) return "owner";
  if (permitted === "owner" || permitted === "everyone") return permitted;
  if (permitted.length > brokerLimits.permittedMax) return undefined;
  const users = permitted.map((name) => parseLogin(name, domain));
  if (users.some((user) => user === undefined)) return undefined;
  return [...new Set(users.map(String))].sort();
}
