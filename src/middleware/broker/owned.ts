/** The names that a user has, of exchanges and queues. */
import type { MailboxName } from "../../shared/ids.js";
import type { Definitions, OwnedFields } from "./definitions.js";
import { brokerLimits } from "./limits.js";

export class Owned {
  constructor(private readonly names: Definitions<OwnedFields>) {}

  /** Notes a name as the user's before it is made, so that nobody makes more than there may be. */
  async own(
    user: MailboxName,
    name: string,
    recall: () => Promise<{ readonly kind: string }>,
  ): Promise<"done" | "full" | "undecided"> {
    // What is there already costs nothing more.
    if ((await recall()).kind === "found") return "done";
    return this.names.change<"full">(user, (before) => {
      const names = before?.names ?? [];
      if (names.includes(name)) return { same: true };
      if (names.length >= brokerLimits.ownedMax) return { refuse: "full" };
      return { set: { names: [...names, name] } };
    });
  }

  async disown(user: MailboxName, name: string): Promise<void> {
    await this.names.change(user, (before) => {
      if (!before?.names.includes(name)) return { same: true };
      return { set: { names: before.names.filter((one) => one !== name) } };
    });
  }

  async disownUnless(
    user: MailboxName,
    name: string,
    read: () => Promise<
      { readonly kind: "found"; readonly value: { owner: MailboxName } } | { readonly kind: string }
    >,
  ): Promise<void> {
    const found = await read();
    if ("value" in found && found.value.owner !== user) await this.disown(user, name);
  }
}
