/**
 * How often passwords may be guessed, counted across the ring.
 *
 * A try of an account is *reserved* at the group of its key before a password is checked, and
 * released when it was the right one. A reservation is noted at a majority, then the majority is
 * asked once more: whoever notes last sees all that were noted before, so of all tries that are
 * allowed within a window there are never more than `perAccount`, through however many nodes.
 *
 * Client addresses are counted more loosely: what failed is noted afterwards, and many clients
 * that log in at once from one address (behind a NAT, or a test on loopback) do not get in each
 * other's way. Guesses under way come on top: at most one for each connection that is open.
 *
 * The worst cases, since members remember tries in memory only:
 * - a member that restarts has forgotten. With it and another one that a note did not reach, a
 *   majority can know of none: each restart grants up to `perAccount` more; so does a change of
 *   members that replaces a majority of a group, and a key that has to make room in the table
 *   (50,000 keys a member, and each costs a failed try from an address that may make a few).
 * - in a ring of two with one silent, the other decides alone, as it does of accounts: should both
 *   live and not hear each other, each grants `perAccount`.
 * - a release that gets lost counts as a wrong try until the window is over.
 * - where no majority answers nothing is checked at all; of the address alone, nothing is held
 *   against it.
 *
 * Somebody who guesses on purpose uses up an account's tries, and its owner's next login with a
 * password fails, too. Not so a password that this node has verified in the last half hour (each
 * use renews that: a client that polls goes on), app passwords, and session tokens: none of these
 * is counted.
 */
import type { Groups } from "../replication/group.js";
import type { Randomness } from "../replication/ports.js";
import type { NotedTry } from "../replication/try-table.js";
import { clientNetwork } from "./client-network.js";

export interface TryLimits {
  /** Wrong passwords within a window. */
  readonly perAccount: number;
  readonly perAddress: number;
  readonly windowMs: number;
}

export type Reservation =
  | {
      readonly kind: "reserved";
      /** Wrong tries of the window, this one counted as one. */
      readonly count: number;
      /** It was the right password, or nothing was checked. */
      readonly release: () => void;
    }
  | { readonly kind: "refused"; readonly retryAfterMs: number }
  | { readonly kind: "undecided" };

interface TriesOptions {
  readonly groups: Pick<Groups, "ask">;
  readonly random: Randomness;
  readonly limits: TryLimits;
}

/** The answer to a wrong try, by the tenth of what is allowed that it falls into. */
const delaysMs = [0, 0, 250, 500, 1_000, 2_000] as const;

export class Tries {
  constructor(private readonly options: TriesOptions) {}

  /** @param key of the account, or of a name that nobody has */
  async reserve(key: string): Promise<Reservation> {
    const max = this.options.limits.perAccount;
    const id = this.newId();
    const release = (): void => this.release(key, id);
    for (const round of ["note", "see"] as const) {
      const noted = await this.note(key, id, max);
      const others = noted?.filter((other) => other.id !== id);
      if (!others) {
        release();
        return { kind: "undecided" };
      }
      if (others.length >= max) {
        release();
        return { kind: "refused", retryAfterMs: this.retryAfterMs(others, max) };
      }
      if (round === "see") return { kind: "reserved", count: others.length + 1, release };
    }
    return { kind: "undecided" };
  }

  /** How long a client has to wait before it may try again: 0, mostly. */
  async waitOf(address: string): Promise<number> {
    const max = this.options.limits.perAddress;
    const noted = await this.note(addressKey(address), this.newId(), 0);
    return noted && noted.length >= max ? this.retryAfterMs(noted, max) : 0;
  }

  noteWrong(address: string): void {
    // Whoever does not hear of it allows a few more.
    void this.note(addressKey(address), this.newId(), this.options.limits.perAddress);
  }

  /** How long the answer to a wrong try is held back. */
  delayMs(count: number): number {
    const tenth = Math.ceil((count * 10) / this.options.limits.perAccount);
    return delaysMs[Math.min(tenth, delaysMs.length) - 1] ?? 0;
  }

  private newId(): string {
    return this.options.random.bytes(9).toString("base64url");
  }

  /** All that a majority knows of; undefined without one. */
  private async note(key: string, id: string, max: number): Promise<NotedTry[] | undefined> {
    const { groups, limits } = this.options;
    const request = { key, id, max, windowMs: limits.windowMs };
    const gathered = await groups.ask(key, "noteTry", request, { alone: true });
    if (!gathered.quorum) return undefined;
    const ages = new Map<string, number>();
    for (const { tries } of gathered.answers.values()) {
      for (const { id: other, ageMs } of tries) {
        ages.set(other, Math.max(ageMs, ages.get(other) ?? 0));
      }
    }
    return [...ages].map(([other, ageMs]) => ({ id: other, ageMs }));
  }

  private release(key: string, id: string): void {
    this.options.groups.ask(key, "releaseTry", { key, id }).catch(() => undefined);
  }

  /** Until so many are over that fewer than `max` are left. */
  private retryAfterMs(noted: readonly NotedTry[], max: number): number {
    const ages = noted.map(({ ageMs }) => ageMs).sort((a, b) => b - a);
    const last = ages[ages.length - max] ?? 0;
    return Math.max(1, Math.ceil(this.options.limits.windowMs - last));
  }
}

const addressKey = (address: string): string => `address:${clientNetwork(address)}`;
