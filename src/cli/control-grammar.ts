/** `chord invite` and `chord control`: who gets in by mail, and what nobody understood. */
import type { Command } from "commander";
import { deleteKept, listKept, readKept } from "./control.js";
import { asking, needsVerb } from "./grammar.js";
import { invite } from "./token.js";
import type { World } from "./world.js";

const inviteHelp = `
Each is good for one account in the whole ring, where members run with --registration token (or open).
A program gives it to "register" of the SDK.`;

export function addInvitations(program: Command, world: World): void {
  asking(program.command("invite").description("let a user register by mail, with one program"))
    .option("--ttl <time>", "how long it is good: 30s, 10m, 1h, 7d", "7d")
    .option("--count <n>", "so many, one a line", "1")
    .addHelpText("after", inviteHelp)
    .action((options) => invite(world, options));
}

const controlHelp = `
What comes to ring@<domain> and is no question of the middleware's protocol is not executed; the
last of it is kept here, at most 1,000 mails and 64 MiB. When that is full, more is refused.`;

export function addControl(program: Command, world: World): void {
  const control = program
    .command("control")
    .description("mail to the ring's own address that it did not understand")
    .addHelpText("after", controlHelp);
  needsVerb(control);
  asking(control.command("list").description("id, date, octets and why of each")).action(
    (options) => listKept(world, options),
  );
  asking(control.command("read <id>").description("one as text")).action((id, options) =>
    readKept(world, id, options),
  );
  asking(control.command("delete <id>").description("delete one for good")).action((id, options) =>
    deleteKept(world, id, options),
  );
}
