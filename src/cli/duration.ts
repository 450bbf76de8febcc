/** Times as people type them: `30s`, `10m`, `1h`, `7d`. */
import { usageError } from "./errors.js";

const unitMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds, from 1 s to 7 days. @throws CliError */
export function durationMs(option: string, text: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitMs[unit ?? ""] ?? Number.NaN);
  if (ms >= 1_000 && ms <= 7 * 86_400_000) return ms;
  throw usageError(`${option} ${text}: must be a time from 1s to 7d, for example 30m`);
}
