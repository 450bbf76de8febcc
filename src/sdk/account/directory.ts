/** Where users answer now, and with which keys: asked of the ring, remembered while fresh. */
import { isSoundRecord, type PacketHeader, type ResolvedRecord } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import type { Values } from "../journal/ports.js";
import type { KeyVerdict } from "../link/ports.js";

export interface DirectoryOptions {
  readonly ask: (user: string) => Promise<ResolvedRecord>;
  readonly values: Values;
  readonly nowMs: () => number;
}

/** Believed without asking. */
const freshMs = 600_000;
/** Asked again for a key that is not there, at most so often. */
const askAgainMs = 5_000;
/** A device may be known to the ring before its user's record names it; then it is nobody's. */
const strangerMs = 900_000;
const rememberedMax = 10_000;

interface Known {
  readonly record: ResolvedRecord;
  readonly askedAtMs: number;
}

export class Directory {
  readonly #options: DirectoryOptions;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<ResolvedRecord>>();
  /** Keys that no record names, since when. */
  readonly #strangers = new Map<string, number>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /** @throws RingpostError `unknown`, `unreachable` … */
  async resolve(user: string): Promise<ResolvedRecord> {
    const known = this.#recall(user);
    const nowMs = this.#options.nowMs();
    const isFresh =
      known !== undefined && nowMs - known.askedAtMs < freshMs && known.record.expiresAtMs > nowMs;
    return isFresh ? known.record : await this.ask(user);
  }

  /** The newest, from the ring. */
  ask(user: string): Promise<ResolvedRecord> {
    const asking = this.#asking.get(user) ?? this.#ask(user);
    this.#asking.set(user, asking);
    return asking;
  }

  /** Of packets from users. Never rejects. */
  async keyVerdict({ from, key }: PacketHeader): Promise<KeyVerdict> {
    const known = this.#recall(from.user);
    const before = known && verdictOf(known.record, from.device, key);
    const nowMs = this.#options.nowMs();
    if (known !== undefined && before === "theirs") {
      // Whether the device has logged out since is known for the next packet.
      if (nowMs - known.askedAtMs > freshMs) this.ask(from.user).catch(() => undefined);
      return before;
    }
    if (known !== undefined && nowMs - known.askedAtMs < askAgainMs) {
      return this.#strangerVerdict(from.device, key, before ?? "unknown");
    }
    try {
      const verdict = verdictOf(await this.ask(from.user), from.device, key);
      return verdict === "theirs" ? verdict : this.#strangerVerdict(from.device, key, verdict);
    } catch (error) {
      const isNobody = error instanceof RingpostError && error.code === "unknown";
      return isNobody ? "not theirs" : "unknown";
    }
  }

  /** The record does not lead anywhere any more. */
  forget(user: string): void {
    this.#known.delete(user);
  }

  #strangerVerdict(device: string, key: string, verdict: KeyVerdict): KeyVerdict {
    if (verdict === "not theirs") return verdict;
    const nowMs = this.#options.nowMs();
    const sinceMs = this.#strangers.get(`${device} ${key}`);
    if (sinceMs === undefined) {
      if (this.#strangers.size >= rememberedMax) this.#strangers.clear();
      this.#strangers.set(`${device} ${key}`, nowMs);
    }
    return nowMs - (sinceMs ?? nowMs) > strangerMs ? "not theirs" : "unknown";
  }

  #recall(user: string): Known | undefined {
    const known = this.#known.get(user);
    if (known !== undefined) return known;
    // Of an earlier process: good for its keys, and where to try when nobody can be asked.
    const record = this.#options.values.get(`record:${user}`);
    return isSoundRecord(record) ? { record, askedAtMs: 0 } : undefined;
  }

  async #ask(user: string): Promise<ResolvedRecord> {
    try {
      const record = await this.#options.ask(user);
      if (!isSoundRecord(record) || record.user !== user) {
        throw new RingpostError("malformed", `${user}: the record is not sound`, false);
      }
      const known = this.#recall(user);
      // A record never goes back: an older one is a replay.
      const newest = known && known.record.version > record.version ? known.record : record;
      if (this.#known.size >= rememberedMax) this.#known.clear();
      this.#known.set(user, { record: newest, askedAtMs: this.#options.nowMs() });
      if (!isSame(known?.record, newest)) {
        await this.#options.values.set(`record:${user}`, newest);
      }
      return newest;
    } finally {
      this.#asking.delete(user);
    }
  }
}

const isSame = (a: ResolvedRecord | undefined, b: ResolvedRecord): boolean =>
  a?.version === b.version && a.loggedOut?.join() === b.loggedOut?.join();

function verdictOf(record: ResolvedRecord, device: string, key: string): KeyVerdict {
  const known = record.devices.find((one) => one.device === device);
  // One that has logged out may log in again.
  if (known === undefined || record.loggedOut?.includes(device) === true) return "unknown";
  return known.key === key ? "theirs" : "not theirs";
}
