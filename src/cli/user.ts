import { AdminError } from "../shared/admin.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { type PasswordOptions, readNewPassword } from "./password.js";
import type { World } from "./world.js";

export async function addUser(
  world: World,
  name: string,
  options: EntryOptions & PasswordOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const password = await readNewPassword(world, options);
  try {
    const { mailbox } = await entry.ask("userAdd", { name, password });
    world.output.line(`${mailbox} added`);
  } catch (error) {
    if (!(error instanceof AdminError && error.code === "exists")) throw error;
    const advice = `to change its password: chord user passwd ${name}`;
    throw new AdminError("exists", `the account ${name} exists already; ${advice}`);
  }
}

export async function changePassword(
  world: World,
  name: string,
  options: EntryOptions & PasswordOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const password = await readNewPassword(world, options);
  const { mailbox } = await entry.ask("userPasswd", { name, password });
  world.output.line(`${mailbox} has a new password`);
}

export async function removeUser(world: World, name: string, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { mailbox, aliases } = await entry.ask("userRemove", { name });
  world.output.line(`${mailbox} removed`);
  if (aliases.length > 0) {
    const which = aliases.join(", ");
    world.output.note(`aliases lead to it still and go to nobody or to fewer: ${which}`);
  }
}

export async function listUsers(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { users, complete } = await entry.ask("userList", {});
  for (const user of users) world.output.line(user);
  if (users.length === 0) world.output.note("no accounts; add one with: chord user add NAME");
  if (!complete) world.output.note("too few members answered: accounts may be missing here");
}
