/** `chord token`: what a member on another machine needs to join. */
import { durationMs } from "./duration.js";
import { type EntryOptions, openEntry } from "./entry.js";
import type { World } from "./world.js";

export async function token(
  world: World,
  options: EntryOptions & { readonly ttl: string },
): Promise<void> {
  const ttlMs = durationMs("--ttl", options.ttl);
  const entry = await openEntry(world, options);
  const reply = await entry.ask("tokenCreate", { ttlMs });
  world.output.line(reply.token);
  world.output.note(`good once, until ${new Date(reply.expiresAtMs).toISOString()}`);
}
