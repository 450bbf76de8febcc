/** What the commands of the grammar have in common. */
import type { Command } from "commander";
import { nearest } from "../config/index.js";
import { usageError } from "./errors.js";

const entryHelp = "a member to ask (default: RINGPOST_ENTRY, a running chord up, 127.0.0.1:5000)";

const credentialsHelp =
  "a copy of a member's secrets directory (default: RINGPOST_CREDENTIALS; none is needed on the machine of the member)";

export function asking(command: Command): Command {
  return command
    .option("--entry <host:port>", entryHelp)
    .option("--credentials <dir>", credentialsHelp);
}

/** Lets a group of commands see a word that is none of them, to say so in words of its own. */
export function takeVerb(command: Command, name: string): void {
  command.argument(`[${name}...]`, undefined as unknown as string, [] as string[]);
}

export function refuseVerb(group: Command, [verb]: readonly string[], otherwise: string): void {
  const known = group.commands.map((command) => command.name());
  if (verb === undefined) return;
  const meant = nearest(verb, known);
  const hint = meant === undefined ? `there are ${known.join(", ")}` : `did you mean "${meant}"?`;
  throw usageError(`there is no command "${verb}"; ${hint} (or ${otherwise})`);
}

/** A group of commands does nothing by itself: it says what there is, to who named none or another. */
export function needsVerb(group: Command, name = "verb"): void {
  takeVerb(group, name);
  group.action((verb: string[]) => {
    const path = pathOf(group);
    refuseVerb(group, verb, `see ${path} --help`);
    const verbs = group.commands.map((command) => command.name());
    const last = verbs.pop() ?? "";
    throw usageError(`${path} needs one of ${verbs.join(", ")} or ${last}; see ${path} --help`);
  });
}

/** As it is typed. */
const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : "chord";

/** `chord --entry a:1 status` would silently ask somebody else. */
export function refuseMisplaced(group: Command): void {
  group.hook("preSubcommand", (_, command) => {
    const [misplaced] = Object.keys(group.opts());
    if (misplaced === undefined) return;
    const option = group.options.find((one) => one.attributeName() === misplaced);
    const flag = option?.short ?? option?.long ?? misplaced;
    throw usageError(`${flag} stands before "${command.name()}"; put it behind it`);
  });
}

/** For commands that are mail programs: where the member's listeners are. */
export function mailPorts(command: Command): Command {
  return command
    .option("--smtp <host:port>", "its SMTP port (default: --entry's + 25)")
    .option("--pop3 <host:port>", "its POP3 port (default: --entry's + 110)");
}
