/**
 * The domains of the ring: the first is a parameter of the ring, the others are in one register
 * that its members agree on.
 */
import { canonicalDomain } from "../mime/address.js";
import type { Clock } from "../replication/ports.js";
import type { Registers } from "../replication/registers.js";

export type DomainChange =
  /** `changed`: false when it was so already. */
  | { readonly kind: "done"; readonly domain: string; readonly changed: boolean }
  | { readonly kind: "invalid"; readonly why: string }
  | { readonly kind: "undecided" };

const domainsMax = 1_000;
const rememberedMs = 5_000;

interface DomainsOptions {
  /** In lower-case A-labels. */
  readonly first: string;
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  /** Tells all members, this one too, to `forget` a register. */
  readonly announceChanged: (register: string) => Promise<void>;
}

export class Domains {
  readonly first: string;
  private readonly register: string;
  private remembered: { readonly added: readonly string[]; readonly untilMs: number } | undefined;
  private reading: Promise<readonly string[] | undefined> | undefined;
  private changes = 0;

  constructor(private readonly options: DomainsOptions) {
    this.first = options.first;
    this.register = `domains:${options.first}`;
  }

  /**
   * Whether mail for a domain (canonical) is ours. A domain that was removed may be served for 5 s
   * more by a member that could not be told; that one is not served is never remembered, so a
   * domain that was added is served by every member at once.
   */
  async serves(domain: string): Promise<"yes" | "no" | "undecided"> {
    if (domain === this.first) return "yes";
    const known = this.remembered;
    if (known && known.untilMs > this.options.clock.monotonicMs() && known.added.includes(domain)) {
      return "yes";
    }
    const added = await this.read();
    if (added === undefined) return "undecided";
    return added.includes(domain) ? "yes" : "no";
  }

  /** All of them, the first one first; undefined when too few members answer. */
  async list(): Promise<readonly string[] | undefined> {
    const added = await this.read();
    return added && [this.first, ...added];
  }

  /** Strangers ask all the time, so questions that come together are one. */
  private read(): Promise<readonly string[] | undefined> {
    // A question under way may be answered by what was there before this one was put.
    if (this.reading) return this.reading.then(() => this.readNow());
    return this.readNow();
  }

  private readNow(): Promise<readonly string[] | undefined> {
    if (this.reading) return this.reading;
    const reading: Promise<readonly string[] | undefined> = this.ask().finally(() => {
      this.reading = undefined;
    });
    this.reading = reading;
    return reading;
  }

  private async ask(): Promise<readonly string[] | undefined> {
    const { registers, clock } = this.options;
    const { changes } = this;
    const answer = await registers.read(this.register, { alone: true });
    if (answer.kind === "undecided") return undefined;
    const added = answer.kind === "absent" ? [] : addedIn(answer.value);
    if (changes === this.changes) {
      this.remembered = { added, untilMs: clock.monotonicMs() + rememberedMs };
    }
    return added;
  }

  forget(register: string): void {
    if (register !== this.register) return;
    this.changes += 1;
    this.remembered = undefined;
  }

  /** Idempotent. */
  add(name: string): Promise<DomainChange> {
    return this.change(name, (added, domain) => {
      if (added.length >= domainsMax) return `there are ${domainsMax} domains already`;
      return [...added, domain].sort();
    });
  }

  /** Idempotent. Accounts of the domain stay, but get no mail any more. */
  remove(name: string): Promise<DomainChange> {
    return this.change(name, (added, domain) => added.filter((one) => one !== domain));
  }

  private async change(
    name: string,
    make: (added: readonly string[], domain: string) => readonly string[] | string,
  ): Promise<DomainChange> {
    const domain = canonicalDomain(name);
    // RFC 3696 §2: a top-level label is not all digits, so that no IPv4 address is a domain.
    if (domain === undefined || /(?:^|\.)\d+$/.test(domain)) {
      return { kind: "invalid", why: `${JSON.stringify(name)} is not a domain` };
    }
    if (domain === this.first) {
      return { kind: "invalid", why: `${domain} is the ring's own domain (--domain)` };
    }
    const answer = await this.options.registers.change<string | boolean>(
      this.register,
      (before) => {
        const added = addedIn(before);
        const made = make(added, domain);
        if (typeof made === "string") return { result: made };
        const changed = made.includes(domain) !== added.includes(domain);
        return changed ? { set: { value: { added: made } }, result: true } : { result: false };
      },
    );
    await this.options.announceChanged(this.register);
    if (answer.kind === "undecided") return { kind: "undecided" };
    const { result } = answer;
    if (typeof result === "string") return { kind: "invalid", why: result };
    return { kind: "done", domain, changed: result };
  }
}

function addedIn(value: unknown): readonly string[] {
  return (value as { added?: readonly string[] } | null)?.added ?? [];
}
