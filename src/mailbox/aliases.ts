/** Aliases: names that stand for accounts, and for other aliases. */
import { canonicalDomain, parseLogin } from "../mime/address.js";
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Accounts, NewName } from "./accounts.js";
import type { Domains } from "./domains.js";
import { expand } from "./expansion.js";
import { type AliasFields, catchAllOf, type Names } from "./names.js";

export type AliasChange =
  | {
      readonly kind: "done";
      readonly alias: MailboxName;
      /** As they are now; empty: there is no such alias any more. */
      readonly targets: readonly MailboxName[];
    }
  | { readonly kind: "invalid"; readonly why: string }
  /** There is no such alias. */
  | { readonly kind: "unknown" }
  /** The name is an account's. */
  | { readonly kind: "account" }
  | { readonly kind: "undecided" };

type Targets =
  | { readonly kind: "ok"; readonly targets: readonly MailboxName[] }
  | Exclude<NewName, { kind: "ok" }>;

/** Of one alias. */
export const aliasTargetsMax = 200;

interface AliasesOptions {
  readonly names: Names;
  readonly accounts: Accounts;
  readonly domains: Domains;
  readonly clock: Clock;
}

export class Aliases {
  constructor(private readonly options: AliasesOptions) {}

  /**
   * Makes an alias, or adds targets to it: at no moment does it have none. `@second.test` is what is
   * written to names of that domain that are neither account nor alias.
   */
  async add(name: string, given: readonly string[]): Promise<AliasChange> {
    const alias = await this.parse(name);
    if (alias.kind !== "ok") return alias;
    const more = await this.targetsOf(alias.mailbox, given);
    if (more.kind !== "ok") return more;
    return this.change(alias.mailbox, (before) => {
      const targets = [...new Set([...(before?.targets ?? []), ...more.targets])].sort();
      if (targets.length > aliasTargetsMax) return "tooMany";
      return { targets, createdAtMs: before?.createdAtMs ?? this.options.clock.wallMs() };
    });
  }

  /** Takes targets away; without any, the alias. The last target can only go with its alias. */
  async remove(name: string, given: readonly string[]): Promise<AliasChange> {
    const { domains } = this.options;
    const alias = name.startsWith("@")
      ? catchAllOf(canonicalDomain(name.slice(1)) ?? "")
      : parseLogin(name, domains.first);
    if (!alias) return { kind: "unknown" };
    const away = new Set(given.map((target) => parseLogin(target, domains.first)));
    return this.change(alias, (before) => {
      if (!before) return "unknown";
      if (given.length === 0) return "nothing";
      const targets = before.targets.filter((target) => !away.has(target));
      if (targets.length + away.size > before.targets.length) return "noTarget";
      return targets.length === 0 ? "lastTarget" : { ...before, targets };
    });
  }

  private async change(
    alias: MailboxName,
    make: (before: AliasFields | undefined) => AliasFields | "nothing" | Refusal,
  ): Promise<AliasChange> {
    let targets: readonly MailboxName[] = [];
    const kind = await this.options.names.change<Refusal | "account">(alias, (before) => {
      if (before.kind === "account") return { refuse: "account" };
      const made = make(before.kind === "alias" ? before.fields : undefined);
      if (made === "nothing") return { set: made };
      if (typeof made === "string") return { refuse: made };
      ({ targets } = made);
      return { set: made };
    });
    if (kind === "done") return { kind, alias, targets };
    return kind in refusals
      ? { kind: "invalid", why: refusals[kind as keyof typeof refusals] }
      : ({ kind } as AliasChange);
  }

  private parse(name: string): Promise<NewName> | NewName {
    if (!name.startsWith("@")) return this.options.accounts.parseNewName(name);
    return this.catchAll(name.slice(1));
  }

  private async catchAll(given: string): Promise<NewName> {
    const domain = canonicalDomain(given);
    const served = domain === undefined ? "no" : await this.options.domains.serves(domain);
    if (served === "undecided") return { kind: "undecided" };
    if (served === "yes" && domain) return { kind: "ok", mailbox: catchAllOf(domain) };
    return { kind: "invalid", why: `this ring does not serve the domain ${JSON.stringify(given)}` };
  }

  /** What can be known to be wrong now is refused now; two changes at once are seen by `expand`. */
  private async targetsOf(alias: MailboxName, given: readonly string[]): Promise<Targets> {
    const { domains, names } = this.options;
    if (given.length === 0) return { kind: "invalid", why: "an alias needs a target" };
    if (given.length > aliasTargetsMax) return { kind: "invalid", why: refusals.tooMany };
    const targets: MailboxName[] = [];
    for (const one of given) {
      const target = parseLogin(one, domains.first);
      const shown = JSON.stringify(one);
      if (!target) return { kind: "invalid", why: `${shown} is no account or alias` };
      const leads = await expand(target, async (name) =>
        name === alias ? { kind: "alias", targets: [target] } : names.recall(name),
      );
      switch (leads.kind) {
        case "undecided":
          return { kind: "undecided" };
        case "unknown":
        case "nowhere":
          return { kind: "invalid", why: `there is no account or alias ${target} in this ring` };
        case "loop":
          return { kind: "invalid", why: `${target} leads back to ${alias}, or too far` };
        case "accounts":
        case "disabled":
          targets.push(target);
      }
    }
    return { kind: "ok", targets };
  }
}

const refusals = {
  tooMany: `an alias has at most ${aliasTargetsMax} targets`,
  noTarget: "the alias has no such target",
  lastTarget: "it is the last target; remove the alias as a whole",
} as const;

type Refusal = keyof typeof refusals | "unknown";
