/** A ring and a foreign mail system, each of which knows the way to the other. */
import { type ForeignMail, freePort, startForeignMail } from "./foreign-mail.js";
import type { Ring } from "./ring.js";
import type { RingScope } from "./ring-scope.js";

export interface BesideOptions {
  /** Of the ring. */
  readonly users: readonly string[];
  /** More arguments of the ring's members. */
  readonly args?: readonly string[];
}

/** Three members whose relay is Postfix, with the accounts ann and bob. */
export async function startBeside(
  scope: RingScope,
  { users, args = [] }: BesideOptions,
): Promise<{ ring: Ring; foreign: ForeignMail }> {
  const port = await freePort();
  const relay = ["--relay", `127.0.0.1:${port}`, "--relay-retry", "1"];
  const ring = await scope.start({ members: 3, replicas: 2, args: [...relay, ...args] });
  await ring.addUsers(users);
  const ringSmtp = ring.entry.smtp;
  const foreign = await startForeignMail({ port, accounts: ["ann", "bob"], ringSmtp });
  return { ring, foreign };
}
