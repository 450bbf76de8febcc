/** The grammar of the command line: which commands and options there are. */
import { Command, Option } from "commander";
import {
  defaults,
  type FlagTexts,
  optionKeys,
  optionSpecs,
  type OptionKey,
} from "../config/index.js";
import { addAppPassword, listAppPasswords, revokeAppPassword } from "./app-password.js";
import { addControl, addInvitations } from "./control-grammar.js";
import { evict, leave } from "./departures.js";
import { dns } from "./dns.js";
import { drill } from "./drill.js";
import { upDataDefault } from "./entry.js";
import { usageError } from "./errors.js";
import { asking, needsOne, refuseMisplaced, refuseVerb, takeVerb } from "./grammar.js";
import { showLimits } from "./limits.js";
import { locate } from "./locate.js";
import { lookup } from "./lookup.js";
import { addMail } from "./mail-grammar.js";
import { runMember } from "./member.js";
import { repair, restore } from "./repairs.js";
import { relayStatus, relayTest } from "./relay.js";
import { createSession, refreshSession, revokeSessions, rotateKey } from "./session.js";
import { status } from "./status.js";
import { token } from "./token.js";
import { up } from "./up.js";
import { addMessages } from "./messages-grammar.js";
import { addNames, addUserDetails } from "./names-grammar.js";
import { addUser, changePassword, listUsers, removeUser } from "./user.js";
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

function addAccounts(program: Command, world: World): void {
  const user = program.command("user").description("add, change, remove and list accounts");
  takeVerb(user, "verb");
  user.action((verb: string[]) => {
    refuseVerb(user, verb, "see chord user --help");
    throw needsOne(user);
  });
  const fromStdin = "read the password from the first line of stdin";
  asking(user.command("add <name>").description("add an account"))
    .option("--password-stdin", fromStdin)
    .action((name, options) => addUser(world, name, options));
  asking(user.command("passwd <name>").description("change a password"))
    .option("--password-stdin", fromStdin)
    .action((name, options) => changePassword(world, name, options));
  asking(user.command("remove <name>").description("remove an account and its mail")).action(
    (name, options) => removeUser(world, name, options),
  );
  asking(user.command("list").description("list the accounts")).action((options) =>
    listUsers(world, options),
  );
  addUserDetails(user, world);
  addAppPasswords(user, world);
}

const appPasswordHelp = `
An app password opens the account's mail for one program (not by SCRAM), can't be guessed, and is
revoked by itself. At most 32 an account; it stays when the account's password changes.`;

function addAppPasswords(user: Command, world: World): void {
  const group = user
    .command("app-password")
    .description("passwords for one program each")
    .addHelpText("after", appPasswordHelp);
  takeVerb(group, "verb");
  group.action((verb: string[]) => {
    refuseVerb(group, verb, "see chord user app-password --help");
    throw usageError("chord user app-password needs one of add, list or revoke");
  });
  asking(group.command("add <name> <label>").description("make one and print it, once")).action(
    (name, label, options) => addAppPassword(world, name, label, options),
  );
  asking(group.command("list <name>").description("their ids, dates and labels")).action(
    (name, options) => listAppPasswords(world, name, options),
  );
  asking(group.command("revoke <name> <id>").description("make one worthless")).action(
    (name, id, options) => revokeAppPassword(world, name, id, options),
  );
}

const sessionHelp = `
A session token stands for a login at every member for an hour, by OAUTHBEARER and XOAUTH2 too. It is
void at once when it is revoked, or when the account's password changes.`;

function addSessions(program: Command, world: World): void {
  const session = program
    .command("session")
    .description("tokens that stand for a login")
    .addHelpText("after", sessionHelp);
  takeVerb(session, "verb");
  session.action((verb: string[]) => {
    refuseVerb(session, verb, "see chord session --help");
    throw usageError("chord session needs one of create, refresh, revoke or rotate-key");
  });
  asking(session.command("create <name>").description("log in and print a token"))
    .option("--password-stdin", "read the password from the first line of stdin")
    .action((name, options) => createSession(world, name, options));
  asking(session.command("refresh").description("print another token for the one on stdin")).action(
    (options) => refreshSession(world, options),
  );
  asking(session.command("revoke <name>").description("make all tokens of an account void")).action(
    (name, options) => revokeSessions(world, name, options),
  );
  asking(session.command("rotate-key").description("sign with a new key from now on"))
    .option("--drop-old", "and make all earlier tokens void: when the key has leaked")
    .action((options) => rotateKey(world, options));
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
  takeVerb(relay, "command");
  relay.action((verb: string[]) => {
    refuseVerb(relay, verb, "see chord relay --help");
    throw needsOne(relay);
  });
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

const leaveHelp = `
The data of the member is copied to the others first; the command shows how far that is, and the
member's process ends by itself when it is done. Interrupting the command changes nothing about that.
Refused when fewer than r + 1 members would be left, since everything would have fewer copies.`;

const evictHelp = `
For members that are gone. A majority of the ring decides, and the copies they had are made anew from
the others; the command shows how far that is. It waits when a range has too few living copies to be
sure of what was written last: start those members again, and it goes on.

--force gives up what only the evicted had: mails and changes of accounts of which no copy is left.
It tells how many mailboxes are concerned. Where the living are no majority of the ring, a majority
of those that are not named decides, so name all that are gone in one command. Never force out
members that may be alive behind a broken network: they could take mail and change accounts there.
Should one come back later, it joins anew, and the mail on its disk comes back with it.`;

const repairHelp = `
Compares the copies of a mailbox, or of all that the asked member keeps, and copies what one lacks
from the others; reads every stored body, checks its SHA-256, and gets damaged or missing ones from
another member. The ring does the first by itself every few seconds; the second it does only here.`;

const restoreHelp = `
chord restore ADDRESS --from ID copies what member ID has of the mailbox to the others that lack it.
Deletions win: what is deleted on any member stays deleted.

chord restore MESSAGE --from ID brings one deleted mail back. MESSAGE is its id, as in the reply
"250 2.0.0 <id>" or in UIDL. It gets a new id (clients see a new mail) with the same octets and the
same trace, and is there when the command says so. The mail is on a member's disk until its place is
reclaimed; if it is gone from one member, another one may have it still.`;

function addDepartures(program: Command, world: World): void {
  asking(program.command("leave").description("take a member out, its data copied first"))
    .option("--id <id>", "the member (default: the one that is asked)")
    .option("--force", "also when everything will have fewer copies")
    .addHelpText("after", leaveHelp)
    .action((options) => leave(world, options));
  asking(program.command("evict <id...>").description("take out members that do not answer"))
    .option("--force", "give up what only they had: when they are gone for good")
    .addHelpText("after", evictHelp)
    .action((ids, options) => evict(world, ids, options));
}

function addRepairs(program: Command, world: World): void {
  asking(program.command("repair [address]").description("make copies equal and check all bodies"))
    .addHelpText("after", repairHelp)
    .action((address, options) => repair(world, address, options));
  asking(
    program
      .command("restore <address-or-message>")
      .description("bring back what one member still has")
      .requiredOption("--from <id>", "the member that has it"),
  )
    .addHelpText("after", restoreHelp)
    .action((what, options) => restore(world, what, options));
}
