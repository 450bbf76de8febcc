/** The grammar of `chord mail`: a terminal client, and a maildrop for scripts. */
import type { Command } from "commander";
import { mailPorts, refuseMisplaced, refuseVerb, takeVerb } from "./grammar.js";
import type { TerminalOptions } from "./mail-terminal.js";
import type { MailboxOptions } from "./mailbox-session.js";
import type { World } from "./world.js";

const entryHelp =
  "a member, or auto to find one on the LAN (default: RINGPOST_ENTRY, a running chord up, 127.0.0.1:5000)";

const mailHelp = `
By POP3, as any mail program: nothing is deleted. TLS is used where the port offers it; a certificate
that nobody vouches for is accepted on this machine only, elsewhere with --insecure-certificate.
What senders put into a mail to drive a terminal is shown, not obeyed.`;

const terminalHelp = `
Without list or read: mail, contacts and chats in the terminal. The keys are in its last line, ^C ends
it. The other two are for scripts and need a POP3 port alone. Where mail ports are not the ring port
plus 25, 110 and 587, name them.`;

/** Parsers are loaded when they are needed. */
export function addMail(program: Command, world: World): void {
  const mail = program.command("mail").description("mail and chats, in the terminal");
  takeVerb(mail, "verb");
  mailPorts(mail.option("--entry, --server <host:port>", entryHelp))
    .option("--submission <host:port>", "its submission port (default: --entry's + 587)")
    .option("--user <name>", "who one is")
    .option("--insecure-certificate", "accept any certificate")
    .option("--store <dir>", "where chats are kept (default: in ~/.local/state/ringpost)")
    .addHelpText("after", terminalHelp)
    .action(async (verb: string[], options: TerminalOptions) => {
      refuseVerb(mail, verb, "see chord mail --help");
      await (await import("./mail-terminal.js")).mailTerminal(world, options);
    });
  const reading = (command: Command): Command =>
    command
      .option("--entry, --server <host:port>", entryHelp)
      .option(
        "--pop3 <host:port>",
        "its POP3 port, or any POP3 server's (default: --entry's + 110)",
      )
      .requiredOption("--user <name>", "whose mailbox")
      .option("--password-stdin", "read the password from the first line of stdin")
      .option("--insecure-certificate", "accept any certificate");
  reading(mail.command("list").description("number, date, sender, subject and size of each mail"))
    .addHelpText("after", mailHelp)
    .action(async (options: MailboxOptions) =>
      (await import("./mail.js")).listMail(world, options),
    );
  reading(mail.command("read <number>").description("one mail as text"))
    .addHelpText("after", mailHelp)
    .action(async (number: string, options: MailboxOptions) =>
      (await import("./mail.js")).readMail(world, number, options),
    );
  refuseMisplaced(mail);
}
