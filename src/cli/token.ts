/** `chord token`: what a member on another machine needs to join; `chord invite`: what a user needs to register. */
import { parseWhole } from "../config/index.js";
import { durationMs } from "./duration.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { usageError } from "./errors.js";
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

export async function invite(
  world: World,
  options: EntryOptions & { readonly ttl: string; readonly count: string },
): Promise<void> {
  const ttlMs = durationMs("--ttl", options.ttl);
  const count = parseWhole(options.count, { min: 1, max: 100 });
  if (!count.ok) throw usageError(`--count ${options.count}: must ${count.why}`);
  const entry = await openEntry(world, options);
  const reply = await entry.ask("inviteCreate", { ttlMs, count: count.value });
  for (const invitation of reply.invitations) world.output.line(invitation);
  world.output.note(`each good once, until ${new Date(reply.expiresAtMs).toISOString()}`);
}
