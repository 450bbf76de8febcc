import type { AccountChange } from "../mailbox/accounts.js";
import { AdminError } from "../shared/admin.js";
import type { MailboxName } from "../shared/ids.js";

/** The mailbox of a change that was made. @throws AdminError for one that was not */
export function changedMailbox(change: AccountChange, name: string): MailboxName {
  switch (change.kind) {
    case "done":
      return change.mailbox;
    case "exists":
      throw new AdminError("exists", `there is an account ${name} already`);
    case "alias":
      throw new AdminError("refused", `${name} is an alias; see chord alias list`);
    case "unknown":
      throw new AdminError("unknown", `there is no account ${name}`);
    case "invalid":
      throw new AdminError("invalid", change.why);
    case "undecided":
      throw new AdminError(
        "unavailable",
        "no majority of the members that keep this account answers; nothing is certain, try again",
      );
  }
}
