/**
 * Zave's invariant, kept up to date change by change so that it can be asserted in every state.
 * Identifiers are numbers here: simulations use at most 48 bits.
 */

/** What a member's list looks like from outside. */
export interface Listed {
  readonly id: number;
  readonly uuid: string;
}

interface Tracked {
  readonly id: number;
  readonly uuid: string;
  successors: readonly Listed[];
}

class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
}

export class RingInvariant {
  readonly #listLength: number;
  readonly #members = new Map<string, Tracked>();
  /** Ids of the live members, ascending. */
  readonly #ids: number[] = [];
  /** How many adjacent pairs of anyone's extended list skip the member with this id. */
  readonly #skips = new Map<number, number>();
  principals = 0;
  /**
   * True from the first state on with L + 1 members or more, all principal and with full lists: the
   * base from which the proof starts. From then on the invariant must hold for ever.
   */
  established = false;

  constructor(listLength: number) {
    this.#listLength = listLength;
  }

  get size(): number {
    return this.#members.size;
  }

  isMember(uuid: string): boolean {
    return this.#members.has(uuid);
  }

  joined(id: number, uuid: string, successors: readonly Listed[]): void {
    this.#ids.splice(this.#position(id), 0, id);
    let skips = 0;
    for (const other of this.#members.values()) skips += countSkips(other, id);
    this.#skips.set(id, skips);
    if (skips === 0) this.principals += 1;
    const member = { id, uuid, successors };
    this.#members.set(uuid, member);
    this.#count(member, 1);
    this.check(member);
  }

  changed(uuid: string, successors: readonly Listed[]): void {
    const member = this.#members.get(uuid);
    if (member === undefined || sameList(member.successors, successors)) return;
    this.#count(member, -1);
    member.successors = successors;
    this.#count(member, 1);
    this.check(member);
  }

  crashed(uuid: string): void {
    const member = this.#members.get(uuid);
    if (member === undefined) return;
    this.#count(member, -1);
    this.#members.delete(uuid);
    this.#ids.splice(this.#position(member.id), 1);
    if (this.#skips.get(member.id) === 0) this.principals -= 1;
    this.#skips.delete(member.id);
    for (const other of this.#members.values()) {
      if (other.successors.some((entry) => entry.uuid === uuid)) this.check(other);
    }
    this.#checkPrincipals();
  }

  /** True when every member but `uuid` has a live successor left without it. */
  survives(uuid: string): boolean {
    for (const other of this.#members.values()) {
      if (other.uuid !== uuid && !this.hasLive(other.successors, uuid)) return false;
    }
    return true;
  }

  hasLive(list: readonly Listed[], without?: string): boolean {
    return list.some((entry) => entry.uuid !== without && this.#members.has(entry.uuid));
  }

  isPrincipal(uuid: string): boolean {
    const member = this.#members.get(uuid);
    return member !== undefined && this.#skips.get(member.id) === 0;
  }

  check(member: Tracked): void {
    this.#checkPrincipals();
    if (!this.established || this.hasLive(member.successors)) return;
    const list = member.successors.map((entry) => entry.id).join(", ");
    throw new InvariantViolation(`OneLiveSuccessor: ${member.id} has only [${list}], all dead`);
  }

  #checkPrincipals(): void {
    if (!this.established) {
      const isBase = this.principals > this.#listLength && this.principals === this.size;
      this.established = isBase && this.#haveFullLists();
    } else if (this.principals <= this.#listLength) {
      const count = `${this.principals} of ${this.size} members`;
      throw new InvariantViolation(`SufficientPrincipals: only ${count} are principal`);
    }
  }

  #haveFullLists(): boolean {
    for (const member of this.#members.values()) {
      if (member.successors.length < this.#listLength) return false;
    }
    return true;
  }

  #count(member: Tracked, by: number): void {
    let from = member.id;
    for (const { id } of member.successors) {
      this.#countBetween(from, id, by);
      from = id;
    }
  }

  /** All live ids in the open interval (from, to). Few, in a ring that works. */
  #countBetween(from: number, to: number, by: number): void {
    const n = this.#ids.length;
    let i = this.#position(from);
    if (this.#ids[i] === from) i += 1;
    for (let seen = 0; seen < n; seen++, i++) {
      const id = this.#ids[i % n];
      if (id === undefined || !isBetween(from, id, to)) return;
      const old = this.#skips.get(id) ?? 0;
      this.#skips.set(id, old + by);
      if (old === 0) this.principals -= 1;
      else if (old + by === 0) this.principals += 1;
    }
  }

  #position(id: number): number {
    let [low, high] = [0, this.#ids.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ids[middle] ?? 0) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function sameList(a: readonly Listed[], b: readonly Listed[]): boolean {
  return a.length === b.length && a.every((entry, i) => entry.uuid === b[i]?.uuid);
}

function isBetween(a: number, x: number, b: number): boolean {
  return a < b ? a < x && x < b : x > a || x < b;
}

/** Adjacent pairs of the extended list that skip `id`. */
function countSkips(member: Tracked, id: number): number {
  let skips = 0;
  let from = member.id;
  for (const { id: to } of member.successors) {
    if (isBetween(from, id, to)) skips += 1;
    from = to;
  }
  return skips;
}
