/** What was promised of each message, and whether it was kept. Messages are named by a number in a header. */
interface Entry {
  readonly n: number;
  readonly from: string;
  /** The life of the sender's store: another one is another origin. */
  readonly origin: string;
  readonly to: string;
  readonly stream: string;
  readonly digest: string;
  readonly octets: number;
  id: string;
  /** 0 while nobody knows whether it was journaled. */
  sequence: number;
}

/** After so many a message goes to the dead letters. */
const deliveriesMax = 20;

export class Book {
  readonly violations: string[] = [];
  readonly #entries: Entry[] = [];
  readonly #byId = new Map<string, Entry>();
  readonly consumed = new Set<number>();
  readonly dead = new Set<number>();
  #deadIds = new Set<string>();
  /** Its `send` failed, or its sender's store is lost. */
  readonly excused = new Set<number>();
  /** Acknowledged durably, in the present life of the receiver's store. */
  readonly #acknowledged = new Set<number>();
  /** By receiver, its life, origin and stream: sequences that were handed out once. */
  readonly #handed = new Map<string, Set<number>>();
  /** By message and receiver's life: how often it was handed out. */
  readonly #tries = new Map<string, number>();
  strangers = 0;

  get messages(): number {
    return this.#entries.length;
  }

  violate(name: string, text: string): void {
    if (this.violations.length < 20) this.violations.push(`${name}: ${text}`);
  }

  attempt(message: Omit<Entry, "n" | "id" | "sequence">): number {
    const n = this.#entries.length;
    this.#entries.push({ ...message, n, id: "", sequence: 0 });
    return n;
  }

  /** `send` has resolved. */
  promised(n: number, id: string, sequence: number): void {
    const entry = this.#entries[n];
    if (!entry) return;
    entry.id = id;
    entry.sequence = sequence;
    this.#byId.set(id, entry);
    if (this.#deadIds.has(id)) this.dead.add(n);
  }

  /** Whoever gave it up has said so. */
  deadById(id: string): void {
    this.#deadIds.add(id);
    const entry = this.#byId.get(id);
    if (entry) this.dead.add(entry.n);
  }

  handed(receiver: string, life: number, message: { n: number; sequence: number }): void {
    const known = this.#entries[message.n];
    if (!known) return this.violate("phantom", `${message.n} at ${receiver}`);
    const what = `${message.n} ${known.from} to ${receiver} ${known.stream}/${message.sequence}`;
    if (known.to !== receiver) this.violate("astray", what);
    if (known.sequence > 0 && known.sequence !== message.sequence) this.violate("changed", what);
    if (this.#acknowledged.has(message.n)) this.violate("again", what);
    known.sequence = message.sequence;
    const attempt = `${message.n} ${life}`;
    const tries = (this.#tries.get(attempt) ?? 0) + 1;
    this.#tries.set(attempt, tries);
    // A power cut may forget a few.
    if (tries > deliveriesMax + 10) this.violate("poison", `${what}, ${tries} times`);
    const key = `${receiver} ${life} ${known.origin} ${known.stream}`;
    const sequences = this.#handed.get(key) ?? new Set<number>();
    this.#handed.set(key, sequences);
    if (!sequences.has(message.sequence)) this.#inOrder(known, sequences);
    sequences.add(message.sequence);
  }

  read(n: number, digest: string): void {
    if (this.#entries[n]?.digest !== digest) this.violate("changed", `the octets of ${n}`);
  }

  /** Handed out for the first time: nothing behind it was before. What never is, and is not dead, is lost. */
  #inOrder({ stream, sequence, to }: Entry, handed: ReadonlySet<number>): void {
    const later = [...handed].find((each) => each > sequence);
    if (later !== undefined)
      this.violate("order", `${stream}/${later} before ${sequence} at ${to}`);
  }

  acknowledged(n: number): void {
    this.consumed.add(n);
    this.#acknowledged.add(n);
  }

  /** A store is lost: what its acknowledgements said may be forgotten, what it was to send may be lost. */
  wiped(user: string, origin: string): void {
    for (const { n, to, origin: from } of this.#entries) {
      if (to === user) this.#acknowledged.delete(n);
      if (from === origin && !this.consumed.has(n)) this.excused.add(n);
    }
  }

  /** Of what was given up on its way, by its sender or its receiver. */
  deadOctets(from: string, to: string): number {
    return this.#entries
      .filter((entry) => entry.from === from && entry.to === to && this.dead.has(entry.n))
      .reduce((sum, { octets }) => sum + octets, 0);
  }

  get open(): number {
    return this.#entries.filter(({ n }) => !this.#isSettled(n)).length;
  }

  #isSettled(n: number): boolean {
    return this.consumed.has(n) || this.dead.has(n) || this.excused.has(n);
  }

  close(): void {
    for (const { n, from, to, stream, sequence } of this.#entries) {
      if (!this.#isSettled(n)) this.violate("lost", `${n} ${from} to ${to} ${stream}/${sequence}`);
    }
  }
}
