/** `chord relay`: whether mail can leave the ring. */
import { type EntryOptions, openEntry } from "./entry.js";
import type { World } from "./world.js";

export async function relayTest(world: World, to: string, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { messageId } = await entry.ask("relayTest", { to });
  world.output.line(`a mail to ${to} waits to be sent, <${messageId}>`);
  world.output.note("the members' logs say when the relay takes it, or why not");
}

export async function relayStatus(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const { waiting } = await entry.ask("relayStatus", {});
  const mails = waiting === 1 ? "1 mail waits" : `${waiting ?? "?"} mails wait`;
  world.output.line(`${mails} to leave the ring`);
}
