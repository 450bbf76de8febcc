/** The grammar of `chord alias`, `chord domain` and what `chord user` has besides. */
import type { Command } from "commander";
import { asking, needsVerb } from "./grammar.js";
import {
  addAlias,
  addDomain,
  listAliases,
  listDomains,
  removeAlias,
  removeDomain,
} from "./names.js";
import { disableUser, setQuota, showUser } from "./user-details.js";
import type { World } from "./world.js";

const quotaHelp = `
chord user quota NAME --size 1G --messages 10000 sets bounds; what is not named stays as it is, and
"none" takes one away. chord user quota NAME none: no bound at all. chord user quota NAME default:
what the members are configured with (--quota, --quota-messages). Mail for a full mailbox is refused
with 452 4.2.2, so that its sender tries again; nothing that is there is deleted.`;

export function addUserDetails(user: Command, world: World): void {
  asking(user.command("show <name>").description("show an account: state, quota, usage, aliases"))
    .option("--json", "as one JSON object")
    .action((name, options) => showUser(world, name, options));
  asking(user.command("quota <name> [none|default]").description("bound what a mailbox holds"))
    .option("--size <size>", "octets, as 500M or 1G, or none")
    .option("--messages <n>", "mails, or none")
    .addHelpText("after", quotaHelp)
    .action((name, what, options) => setQuota(world, name, what, options));
  asking(user.command("disable <name>").description("no logins and no mail, until enabled")).action(
    (name, options) => disableUser(world, name, true, options),
  );
  asking(user.command("enable <name>").description("undo disable")).action((name, options) =>
    disableUser(world, name, false, options),
  );
}

function group(program: Command, name: string, description: string): Command {
  const command = program.command(name).description(description);
  needsVerb(command);
  return command;
}

const aliasHelp = `
Targets are accounts and aliases of this ring. Adding to an alias that exists adds targets. The alias
@second.test gets what is written to names of second.test that are neither account nor alias.`;

const removeDomainHelp = `
--force removes a domain that has accounts or aliases. They stay, with their mail, and can be logged
in to; mail for them is refused until the domain is added again.`;

export function addNames(program: Command, world: World): void {
  const alias = group(program, "alias", "addresses that lead to accounts");
  alias.addHelpText("after", aliasHelp);
  asking(alias.command("add <alias> <target...>").description("add an alias, or targets to it"))
    .addHelpText("after", aliasHelp)
    .action((name, targets, options) => addAlias(world, name, targets, options));
  asking(
    alias.command("remove <alias> [target...]").description("remove an alias, or targets of it"),
  ).action((name, targets, options) => removeAlias(world, name, targets, options));
  asking(alias.command("list").description("list the aliases")).action((options) =>
    listAliases(world, options),
  );

  const domain = group(program, "domain", "mail domains besides the first (--domain)");
  asking(
    domain.command("add <name>").description("serve a domain, at once, on every member"),
  ).action((name, options) => addDomain(world, name, options));
  asking(domain.command("remove <name>").description("serve a domain no more"))
    .option("--force", "also when it has accounts or aliases")
    .addHelpText("after", removeDomainHelp)
    .action((name, options) => removeDomain(world, name, options));
  asking(domain.command("list").description("list the domains")).action((options) =>
    listDomains(world, options),
  );
}
