/** The grammar of the command line: which commands and options there are. */
import { Command, Option } from "commander";
import {
  defaults,
  type FlagTexts,
  optionKeys,
  optionSpecs,
  type OptionKey,
} from "../config/index.js";
import { addAccounts, addSessions } from "./accounts-grammar.js";
import { addControl, addInvitations } from "./control-grammar.js";
import { dns } from "./dns.js";
import { drill } from "./drill.js";
import { upDataDefault } from "./entry.js";
import { asking, needsVerb, refuseMisplaced, refuseVerb, takeVerb } from "./grammar.js";
import { showLimits } from "./limits.js";
import { locate } from "./locate.js";
import { lookup } from "./lookup.js";
import { addMail } from "./mail-grammar.js";
import { runMember } from "./member.js";
import { relayStatus, relayTest } from "./relay.js";
import { status } from "./status.js";
import { token } from "./token.js";
import { up } from "./up.js";
import { addDepartures, addRepairs } from "./members-grammar.js";
import { addMessages } from "./messages-grammar.js";
import { addNames } from "./names-grammar.js";
import { packageVersion } from "./version.js";
import type { World } from "./world.js";

type SetExit = (code: number) => void;

const examples = `
Examples:
  chord up                                              a ring of three on this machine
  chord --id 2 --addr 127.0.0.1:5000 --bits 3           the first member of a ring
  chord --id 5 --addr 127.0.0.1:5002 --bits 3 --entry 127.0.0.1:5000
  chord user add alice --entry 127.0.0.1:5000
  chord status

Exit codes: 0 done, 1 refused (the line on stderr says why), 2 wrong usage or conf file,
70 a member ended on an internal error, 130 cancelled.`;

export function createProgram(world: World, setExit: SetExit): Command {
  const program = new Command("chord")
    .description("Ringpost: mail on a Chord ring. Without a command: runs a member.")
    .usage("[options]  |  chord <command> [options]")
    .version(packageVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => world.output.line(text.trimEnd()),
      // main() writes errors, each as one line.
      writeErr: () => undefined,
    })
    .enablePositionalOptions()
    .addHelpText("after", examples);
  addMember(program, world, setExit);
  addUp(program, world, setExit);
  addDrill(program, world, setExit);
  addAccounts(program, world);
  addNames(program, world);
  addInspection(program, world);
  addAdmission(program, world);
  addInvitations(program, world);
  addControl(program, world);
  addDepartures(program, world);
  addRepairs(program, world);
  addSessions(program, world);
  program
    .command("limits")
    .description("show the limits of the listeners, which --limit sets")
    .action(() => showLimits(world));
  addMail(program, world);
  addMessages(program, world);
  addDns(program, world);
  addRelay(program, world);
  refuseMisplaced(program);
  return program;
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function addMember(program: Command, world: World, setExit: SetExit): void {
  for (const key of optionKeys) {
    const { placeholder, help, defaultText } = optionSpecs[key];
    const shown = defaultText === undefined ? help : `${help} (default: ${defaultText})`;
    program.addOption(new Option(`--${key} ${placeholder}`, shown).argParser(collect));
  }
  program.addOption(new Option("--conf <file>", "options from a file; flags win over it"));
  takeVerb(program, "command");
  program.action(async (verb: string[], options: Record<string, unknown>) => {
    refuseVerb(program, verb, "run a member without one, or see chord --help");
    const confPath = options["conf"] as string | undefined;
    setExit(await runMember(world, flagTexts(options), { confPath }));
  });
}

/** Commander's camel case back to the options' names. */
function flagTexts(options: Readonly<Record<string, unknown>>): FlagTexts {
  const flags: { [K in OptionKey]?: readonly string[] } = {};
  for (const key of optionKeys) {
    const texts = options[new Option(`--${key}`).attributeName()];
    if (texts !== undefined) flags[key] = texts as readonly string[];
  }
  return flags;
}

function addUp(program: Command, world: World, setExit: SetExit): void {
  program
    .command("up")
    .description("run a ring on this machine, with two accounts to try")
    .option("--nodes <n>", "members", "3")
    .option("--data <dir>", "where all of it is kept", upDataDefault)
    .option("--port <port>", "ring port of the first member; the others follow", "5000")
    .option("--bits <n>", "size of the circle", String(defaults.bits))
    .option("--replicas <r>", "copies besides the first", String(defaults.replicas))
    .option("--domain <name>", "mail domain", defaults.domain)
    .action(async (options) => setExit(await up(world, options)));
}

function addDrill(program: Command, world: World, setExit: SetExit): void {
  program
    .command("drill")
    .description("prove it here: mail under kills, freezes, partitions and a lost disk")
    .option("--minutes <n>", "how long there are faults", "1")
    .option("--members <n>", "members, each a process on this machine", "5")
    .option("--replicas <r>", "copies besides the first", String(defaults.replicas))
    .option("--seed <n>", "repeat the choices of another drill (default: by chance)")
    .option("--json", "the report as one JSON object")
    .option("--keep", "keep data and logs although all is well")
    .action(async (options) => setExit(await drill(world, options)));
}

function addInspection(program: Command, world: World): void {
  asking(program.command("status").description("show the ring"))
    .option("--json", "as one JSON object")
    .action((options) => status(world, options));
  asking(program.command("locate <address>").description("show who holds a mailbox"))
    .option("--json", "as one JSON object")
    .action((address, options) => locate(world, address, options));
  asking(program.command("lookup <key>").description("find the owner of an id or a mail address"))
    .option("--json", "as one JSON object")
    .action((key, options) => lookup(world, key, options));
}

const tokenHelp = `
Paste it behind --token, or into RINGPOST_TOKEN, when the new member is started on its machine:
  chord --addr HOST:PORT --entry THIS:PORT --token rp1_…
It is good once in the whole ring. Who has it, and reaches a member, gets what makes a member.`;

function addAdmission(program: Command, world: World): void {
  asking(program.command("token").description("let a member on another machine join"))
    .option("--ttl <time>", "how long it is good: 30s, 10m, 1h, 7d", "1h")
    .addHelpText("after", tokenHelp)
    .action((options) => token(world, options));
}

function addRelay(program: Command, world: World): void {
  const relay = program.command("relay").description("mail that leaves the ring");
  asking(relay.command("test <address>").description("send a short mail through the relay")).action(
    (address, options) => relayTest(world, address, options),
  );
  asking(relay.command("status").description("how much waits to be sent")).action((options) =>
    relayStatus(world, options),
  );
  needsVerb(relay, "command");
}

const dnsHelp = `
Prints records to paste into the zone of the ring's domain, one line each: who takes mail for it, where
mail programs send and fetch, and who may send as it. Ports are those that the members tell.
--autoconfig prints the settings file that Thunderbird and others ask the domain for instead.`;

function addDns(program: Command, world: World): void {
  asking(program.command("dns").description("print DNS records for the ring's domains"))
    .option("--autoconfig", "the settings for mail programs, as XML")
    .addHelpText("after", dnsHelp)
    .action((options) => dns(world, options));
}
