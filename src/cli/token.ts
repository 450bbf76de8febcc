/** `chord token`: what a member on another machine needs to join; `chord invite`: what a user needs to register. */
import { parseWhole } from "../config/index.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { usageError } from "./errors.js";
import type { World } from "./world.js";

const unitMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export async function token(
  world: World,
  options: EntryOptions & { readonly ttl: string },
): Promise<void> {
  const ttlMs = durationMs(options.ttl);
  const entry = await openEntry(world, options);
  const reply = await entry.ask("tokenCreate", { ttlMs });
  world.output.line(reply.token);
  world.output.note(`good once, until ${new Date(reply.expiresAtMs).toISOString()}`);
}

export async function invite(
  world: World,
  options: EntryOptions & { readonly ttl: string; readonly count: string },
): Promise<void> {
  const ttlMs = durationMs(options.ttl);
  const count = parseWhole(options.count, { min: 1, max: 100 });
  if (!count.ok) throw usageError(`--count ${options.count}: must ${count.why}`);
  const entry = await openEntry(world, options);
  const reply = await entry.ask("inviteCreate", { ttlMs, count: count.value });
  for (const invitation of reply.invitations) world.output.line(invitation);
  world.output.note(`each good once, until ${new Date(reply.expiresAtMs).toISOString()}`);
}

function durationMs(text: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitMs[unit ?? ""] ?? Number.NaN);
  if (ms >= 1_000 && ms <= 7 * 86_400_000) return ms;
  throw usageError(`--ttl ${text}: must be a time from 1s to 7d, for example 30m`);
}
