/** `chord user app-password …`: passwords for one program each. */
import { type EntryOptions, openEntry } from "./entry.js";
import type { World } from "./world.js";

export async function addAppPassword(
  world: World,
  name: string,
  label: string,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const { mailbox, id, password } = await entry.ask("appPasswordAdd", { name, label });
  world.output.line(password);
  world.output.note(`for ${mailbox}, id ${id}; it is not shown again`);
}

export async function listAppPasswords(
  world: World,
  name: string,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const { appPasswords } = await entry.ask("appPasswordList", { name });
  for (const { id, label, createdAtMs } of appPasswords) {
    world.output.line(`${id}  ${new Date(createdAtMs).toISOString().slice(0, 10)}  ${label}`);
  }
  if (appPasswords.length === 0) world.output.note(`${name} has no app passwords`);
}

export async function revokeAppPassword(
  world: World,
  name: string,
  id: string,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const { mailbox } = await entry.ask("appPasswordRevoke", { name, id });
  world.output.line(`app password ${id} of ${mailbox} is revoked, and all its session tokens`);
}
