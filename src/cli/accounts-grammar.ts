/** The grammar of `chord user` and `chord session`: accounts, and what opens them. */
import type { Command } from "commander";
import { addAppPassword, listAppPasswords, revokeAppPassword } from "./app-password.js";
import { asking, needsVerb } from "./grammar.js";
import { addUserDetails } from "./names-grammar.js";
import { createSession, refreshSession, revokeSessions, rotateKey } from "./session.js";
import { addUser, changePassword, listUsers, removeUser } from "./user.js";
import type { World } from "./world.js";

const fromStdin = "read the password from the first line of stdin";

export function addAccounts(program: Command, world: World): void {
  const user = program.command("user").description("add, change, remove and list accounts");
  needsVerb(user);
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
  needsVerb(group);
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

export function addSessions(program: Command, world: World): void {
  const session = program
    .command("session")
    .description("tokens that stand for a login")
    .addHelpText("after", sessionHelp);
  needsVerb(session);
  asking(session.command("create <name>").description("log in and print a token"))
    .option("--password-stdin", fromStdin)
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
