/** Which accounts a name leads to. Bounded, and knows no ring: names come from `look`. */
import type { MailboxName } from "../shared/ids.js";
import type { AccountFacts, NameFacts } from "./names.js";

export type Look = (name: MailboxName) => Promise<NameFacts | { kind: "unknown" | "undecided" }>;

export type Expansion =
  /** Those that take mail, at least one. Targets that are gone or disabled are left out. */
  | { readonly kind: "accounts"; readonly accounts: ReadonlyMap<MailboxName, AccountFacts> }
  /** There is no such name. */
  | { readonly kind: "unknown" }
  /** An alias none of whose targets exist any more. */
  | { readonly kind: "nowhere" }
  /** A disabled account, or an alias of such ones alone. */
  | { readonly kind: "disabled" }
  /** An alias that leads back to itself, or too far, or to too many. */
  | { readonly kind: "loop" }
  | { readonly kind: "undecided" };

/** Aliases one behind the other. */
export const aliasDepthMax = 10;
/** Names that one name may lead to, itself and the aliases on the way included. */
export const aliasNamesMax = 1_000;

export async function expand(start: MailboxName, look: Look): Promise<Expansion> {
  const accounts = new Map<MailboxName, AccountFacts>();
  const aliases = new Map<MailboxName, readonly MailboxName[]>();
  const seen = new Set([start]);
  let disabled = false;
  let level: readonly MailboxName[] = [start];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > aliasDepthMax || seen.size > aliasNamesMax) return { kind: "loop" };
    const found = await Promise.all(level.map(async (name) => [name, await look(name)] as const));
    const next: MailboxName[] = [];
    for (const [name, facts] of found) {
      if (facts.kind === "undecided") return { kind: "undecided" };
      if (facts.kind === "unknown" && name === start) return { kind: "unknown" };
      if (facts.kind === "account") {
        if (facts.disabled) disabled = true;
        else accounts.set(name, facts);
      }
      if (facts.kind !== "alias") continue;
      aliases.set(name, facts.targets);
      for (const target of facts.targets) {
        if (!seen.has(target)) next.push(target);
        seen.add(target);
      }
    }
    level = next;
  }
  if (hasLoop(aliases, start)) return { kind: "loop" };
  if (accounts.size > 0) return { kind: "accounts", accounts };
  return { kind: disabled ? "disabled" : "nowhere" };
}

/** Whether `start` can be left on a way that comes through the same alias twice. */
function hasLoop(
  aliases: ReadonlyMap<MailboxName, readonly MailboxName[]>,
  start: MailboxName,
): boolean {
  const done = new Set<MailboxName>();
  const above = new Set<MailboxName>();
  // As deep as there are levels, which is bounded above only without loops: hence `above`.
  const visit = (name: MailboxName): boolean => {
    if (above.has(name)) return true;
    if (done.has(name)) return false;
    above.add(name);
    const loops = (aliases.get(name) ?? []).some(visit);
    above.delete(name);
    done.add(name);
    return loops;
  };
  return visit(start);
}
