/** Aliases, as the command line asks for them. */
import type { AliasChange } from "../mailbox/aliases.js";
import { AdminError, type AdminMethods, type AliasReply } from "../shared/admin.js";
import type { AccountFacilities } from "./account-commands.js";
import { ringNames, undecided } from "./ring-names.js";

/** All may throw AdminError. */
export class AliasCommands {
  constructor(private readonly options: AccountFacilities) {}

  async add(alias: string, targets: readonly string[]): Promise<AliasReply> {
    return changed(await this.options.aliases.add(alias, targets), alias);
  }

  async remove(alias: string, targets: readonly string[]): Promise<AliasReply> {
    return changed(await this.options.aliases.remove(alias, targets), alias);
  }

  async list(): Promise<AdminMethods["aliasList"]["reply"]> {
    const { names, complete } = await ringNames(this.options.replication);
    const aliases = [...names].flatMap(([alias, state]) =>
      state.kind === "alias" ? [{ alias, targets: state.fields.targets }] : [],
    );
    return { aliases, complete };
  }
}

function changed(change: AliasChange, name: string): AliasReply {
  switch (change.kind) {
    case "done":
      return { alias: change.alias, targets: change.targets };
    case "account":
      throw new AdminError("exists", `there is an account ${name}; an alias needs another name`);
    case "unknown":
      throw new AdminError("unknown", `there is no alias ${name}`);
    case "invalid":
      throw new AdminError("invalid", change.why);
    case "undecided":
      return undecided("this alias or its targets");
  }
}
