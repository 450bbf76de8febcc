/** New accounts, clear of what an earlier holder of the name had. */
import type { AccountChange, Accounts } from "./accounts.js";
import type { Mailboxes } from "./mailboxes.js";

export type AddedAccount =
  | AccountChange
  /** What the former holder had could not be cleared now; there is no new account. */
  | { readonly kind: "unpurged" };

/** Adds an account; mail of an earlier holder of the name must not meet the new one. */
export async function addAccount(
  {
    accounts,
    mailboxes,
  }: { readonly accounts: Accounts; readonly mailboxes: Pick<Mailboxes, "purge"> },
  name: string,
  password: string,
): Promise<AddedAccount> {
  const parsed = await accounts.parseNewName(name);
  const before = parsed.kind === "ok" ? await accounts.read(parsed.mailbox) : undefined;
  if (parsed.kind === "ok" && before?.kind === "unknown" && before.former) {
    if (!(await mailboxes.purge(parsed.mailbox))) return { kind: "unpurged" };
  }
  return accounts.add(name, password);
}
