/** The grammar of the commands that use exchanges and queues. */
import type { Command } from "commander";
import { mailPorts } from "./grammar.js";
import type { PublishOptions, ReceiveOptions } from "./messages.js";
import type { World } from "./world.js";

const serverHelp =
  "a member, or auto to find one on the LAN; repeatable (default: RINGPOST_ENTRY, a running chord up, 127.0.0.1:5000)";

const help = `
These are programs with the SDK: they speak SMTP and POP3 and need an account, no credentials of a
member. The password is asked for, or read from the first line of stdin; what follows it is the body.`;

const sendingHelp = `${help}
Exit code 0 means that the ring has the message on two disks; its id is printed.`;

const receivingHelp = `${help}
A message is settled when it was written to stdout. --raw writes its octets and nothing between
messages; else each is one line, with control characters shown, or as JSON.`;

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function session(command: Command): Command {
  command
    .requiredOption("--user <name>", "who one is")
    .option("--entry, --server <host:port>", serverHelp, collect);
  return mailPorts(command)
    .option("--password-stdin", "read the password from the first line of stdin")
    .option("--store <dir>", "keep the journal there: what is on its way survives the process")
    .option("--insecure-certificate", "accept any certificate");
}

function sending(command: Command): Command {
  return session(command)
    .option("--header <name=value>", "a header of the message, repeatable", collect)
    .option("--ttl <time>", "given up after: 30s, 10m, 1h, 5d", "5d")
    .option("--timeout <time>", "how long to wait for the ring to take it", "30s")
    .addHelpText("after", sendingHelp);
}

function receiving(command: Command): Command {
  return session(command)
    .option("--json", "each as one line of JSON")
    .option("--raw", "the octets as they were sent")
    .addHelpText("after", receivingHelp);
}

/** The SDK is loaded when it is needed. */
export function addMessages(program: Command, world: World): void {
  const messages = () => import("./messages.js");
  sending(
    program.command("pub <event> [body]").description("publish to an event; body or -: stdin"),
  )
    .option("--key <key>", "routing key", "")
    .action(async (event: string, body: string | undefined, options: PublishOptions) =>
      (await messages()).publish(world, event, body, options),
    );
  receiving(program.command("sub <event>").description("print what is published to an event"))
    .option("--key <pattern>", "only what this matches: words with * and #")
    .option("--count <n>", "end after so many")
    .option("--timeout <time>", "end after this, with exit code 1 if it was fewer")
    .option("--unsubscribe", "at the end; else what is published meanwhile waits for the next time")
    .action(async (event: string, options: ReceiveOptions) =>
      (await messages()).subscribe(world, event, options),
    );
  sending(program.command("push <queue> [body]").description("put a message into a queue"))
    .option("--lines", "each line of stdin is a message")
    .action(async (queue: string, body: string | undefined, options: PublishOptions) =>
      (await messages()).push(world, queue, body, options),
    );
  receiving(program.command("pull <queue>").description("take messages from a queue"))
    .option("--count <n>", "how many", "1")
    .option("--timeout <time>", "how long to wait for them", "30s")
    .option("--ack", "they are done with; else they are only shown, and go back")
    .action(async (queue: string, options: ReceiveOptions) =>
      (await messages()).pull(world, queue, options),
    );
}
