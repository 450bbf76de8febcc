/** Amounts as people type them: `1G`, `10000`, `none`. */
import { parseBound, parseQuotaOctets } from "../config/index.js";
import { usageError } from "./errors.js";

/** Undefined when it was not given, null for `none`. @throws CliError */
export function quotaBound(
  option: "--size" | "--messages",
  text: string | undefined,
): number | null | undefined {
  if (text === undefined) return undefined;
  const parsed = option === "--size" ? parseQuotaOctets(text) : parseBound(text);
  if (!parsed.ok) throw usageError(`${option} ${text === "" ? '""' : text}: must ${parsed.why}`);
  return parsed.value === "none" ? null : parsed.value;
}
