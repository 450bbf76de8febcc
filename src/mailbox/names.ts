/**
 * What stands behind a name: an account or an alias. One register per name, agreed on by the group
 * of its key, so that there is at most one of them.
 */
import type { Clock, Randomness } from "../replication/ports.js";
import type { Registers } from "../replication/registers.js";
import type { MailboxName } from "../shared/ids.js";
import type { AccountFields, Quota } from "./account.js";

export interface AliasFields {
  /** Accounts and aliases of this ring, in order of their names. */
  readonly targets: readonly MailboxName[];
  readonly createdAtMs: number;
}

export type NameState =
  | { readonly kind: "account"; readonly fields: AccountFields }
  | { readonly kind: "alias"; readonly fields: AliasFields }
  | { readonly kind: "none" };

export type NameAnswer =
  /** `version` changes whenever anything of the account does. */
  | { readonly kind: "account"; readonly fields: AccountFields; readonly version: string }
  | { readonly kind: "alias"; readonly fields: AliasFields }
  /** `former`: there was one once, so an account's mail may not be gone yet. */
  | { readonly kind: "unknown"; readonly former: boolean }
  | { readonly kind: "undecided" };

/** As much of an account as it takes to take mail for it. */
export interface AccountFacts {
  readonly disabled: boolean;
  readonly quota: Quota | undefined;
}

export type NameFacts =
  | ({ readonly kind: "account" } & AccountFacts)
  | { readonly kind: "alias"; readonly targets: readonly MailboxName[] };

/** The value of a register; null and `removed` mean that there is none. */
type NameValue = Partial<AccountFields> &
  Partial<AliasFields> & {
    /** Of the proposal that made it, to recognise one's own after an interrupted round. */
    readonly nonce: string;
    readonly removed?: true;
  };

const rememberedMs = 5_000;
const rememberedMax = 50_000;

const prefix = "account:";
const registerOf = (name: MailboxName): string => `${prefix}${name}`;
/** The name whose register it is; undefined when it is a register of something else. */
export const nameOfRegister = (register: string): MailboxName | undefined =>
  register.startsWith(prefix) ? (register.slice(prefix.length) as MailboxName) : undefined;

/** The register of all that is written to a domain's other names: a name nobody can be given. */
export const catchAllOf = (domain: string): MailboxName => `@${domain}` as MailboxName;

export interface NamesOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Tells all members, this one too, to `forget` a register. */
  readonly announceChanged: (register: string) => Promise<void>;
}

export class Names {
  /** Names that were there a moment ago, so that a burst of mail costs one question. */
  private remembered = new Map<MailboxName, { facts: NameFacts; untilMs: number }>();
  private changes = 0;

  constructor(private readonly options: NamesOptions) {}

  /** What is agreed, read from a majority. */
  async read(name: MailboxName): Promise<NameAnswer> {
    const answer = await this.options.registers.read(registerOf(name), { alone: true });
    if (answer.kind === "undecided") return { kind: "undecided" };
    if (answer.kind === "absent") return { kind: "unknown", former: false };
    const value = answer.value as NameValue | null;
    const state = stateOf(value);
    switch (state.kind) {
      case "account":
        // The nonce stays when a later round only confirms the value, and changes with every change.
        return { ...state, version: value?.nonce ?? "" };
      case "alias":
        return state;
      case "none":
        return { kind: "unknown", former: value?.removed === true };
    }
  }

  /**
   * As `read`, as far as mail needs it, and up to 5 s old. That there is nothing is never
   * remembered: only a member that a change could not be told to goes on with what was there.
   */
  async recall(name: MailboxName): Promise<NameFacts | { kind: "unknown" | "undecided" }> {
    const { clock } = this.options;
    const known = this.remembered.get(name);
    if (known && known.untilMs > clock.monotonicMs()) return known.facts;
    const { changes } = this;
    const answer = await this.read(name);
    if (answer.kind === "undecided" || answer.kind === "unknown") return { kind: answer.kind };
    const facts = factsOf(answer);
    // What was read before a change was told of may be what was there before it.
    if (changes === this.changes) {
      if (this.remembered.size >= rememberedMax) this.remembered = new Map();
      this.remembered.set(name, { facts, untilMs: clock.monotonicMs() + rememberedMs });
    }
    return facts;
  }

  /** The name has changed somewhere. */
  forget(register: string): void {
    const name = nameOfRegister(register);
    if (name === undefined) return;
    this.changes += 1;
    this.remembered.delete(name);
  }

  /** Changes the name's value. `make` may run several times, on newer values. */
  async change<R extends string>(
    name: MailboxName,
    make: (
      before: NameState,
    ) => { readonly set: AccountFields | AliasFields | "nothing" } | { readonly refuse: R },
  ): Promise<"done" | "undecided" | R> {
    const nonce = this.options.random.bytes(12).toString("base64url");
    let triedOn: string | undefined;
    const answer = await this.options.registers.change<"done" | "undecided" | R>(
      registerOf(name),
      (before) => {
        const present = before as NameValue | null;
        const found = present?.nonce ?? "";
        if (found === nonce) return { result: "done" };
        // An interrupted round may have made the change before others made theirs on top of it: it
        // must neither be made twice nor be called refused.
        if (triedOn !== undefined && triedOn !== found) return { result: "undecided" };
        const made = make(stateOf(present));
        if ("refuse" in made) return { result: made.refuse };
        triedOn = found;
        const fields = made.set === "nothing" ? { removed: true as const } : made.set;
        return { set: { value: { ...fields, nonce } satisfies NameValue }, result: "done" };
      },
    );
    await this.options.announceChanged(registerOf(name));
    return answer.kind === "undecided" ? "undecided" : answer.result;
  }
}

function factsOf(state: Exclude<NameState, { kind: "none" }>): NameFacts {
  if (state.kind === "alias") return { kind: "alias", targets: state.fields.targets };
  const { disabled = false, quota } = state.fields;
  return { kind: "account", disabled, quota };
}

/** What a register's value says. */
export function stateOf(value: unknown): NameState {
  const present = value as NameValue | null;
  if (!present) return { kind: "none" };
  const { nonce: _nonce, removed: _removed, targets, passwordHash, ...rest } = present;
  const { createdAtMs = 0 } = rest;
  if (targets) return { kind: "alias", fields: { targets, createdAtMs } };
  if (!passwordHash) return { kind: "none" };
  return { kind: "account", fields: { ...rest, passwordHash, createdAtMs } };
}
