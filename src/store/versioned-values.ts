interface Settled<T> {
  readonly version: number;
  readonly value: T;
  /** Where its record is and what it takes there, to know what is dead when a newer one comes. */
  readonly segment: number;
  readonly octets: number;
}

export interface VersionedEntry<T> extends Settled<T> {
  readonly key: string;
}

/**
 * Values by key of which the highest version counts: registers and local values. A reader sees a
 * value from the moment it is put; a put that the disk refuses is taken back.
 */
export class VersionedValues<T> {
  readonly #settled = new Map<string, Settled<T>>();
  readonly #flying = new Map<string, { version: number; value: T }[]>();
  /** Changed since they were last written to the view. */
  readonly #changed = new Set<string>();

  constructor(private readonly onDead: (segment: number, octets: number) => void) {}

  get size(): number {
    return this.#settled.size;
  }

  get(key: string): T | undefined {
    const flying = this.#flying.get(key)?.at(-1);
    return flying === undefined ? this.#settled.get(key)?.value : flying.value;
  }

  *entries(): Iterable<readonly [string, T]> {
    for (const [key, { value }] of this.#settled) {
      const flying = this.#flying.get(key)?.at(-1);
      yield [key, flying === undefined ? value : flying.value];
    }
    for (const [key, values] of this.#flying) {
      const last = values.at(-1);
      if (!this.#settled.has(key) && last !== undefined) yield [key, last.value];
    }
  }

  /** Shows `value` from now on; `settle` or `refuse` with the version given back must follow. */
  begin(key: string, value: T): number {
    const flying = this.#flying.get(key) ?? [];
    const newest = flying.at(-1)?.version ?? this.#settled.get(key)?.version ?? 0;
    flying.push({ version: newest + 1, value });
    this.#flying.set(key, flying);
    return newest + 1;
  }

  /** A value is in the journal: one that was begun, or one found there. Older ones are void. */
  settle(entry: VersionedEntry<T>): void {
    const { key, version, value, segment, octets } = entry;
    this.refuse(key, version);
    const known = this.#settled.get(key);
    if (known !== undefined && known.version > version) return;
    if (known !== undefined) this.onDead(known.segment, known.octets);
    this.#settled.set(key, { version, value, segment, octets });
    this.#changed.add(key);
  }

  refuse(key: string, version: number): void {
    const flying = this.#flying.get(key);
    if (flying === undefined) return;
    const rest = flying.filter((entry) => entry.version !== version);
    if (rest.length === 0) this.#flying.delete(key);
    else this.#flying.set(key, rest);
  }

  /** True while no newer version is durable. */
  isCurrent(key: string, version: number): boolean {
    return (this.#settled.get(key)?.version ?? 0) <= version;
  }

  /** Takes what changed since the last call; `markChanged` undoes it. */
  takeChanged(): VersionedEntry<T>[] {
    const taken = [...this.#changed];
    this.#changed.clear();
    return taken.flatMap((key) => {
      const settled = this.#settled.get(key);
      return settled === undefined ? [] : [{ key, ...settled }];
    });
  }

  markChanged(keys: Iterable<string>): void {
    for (const key of keys) this.#changed.add(key);
  }

  /** Puts what the view has; it need not be written there again. */
  load({ key, ...settled }: VersionedEntry<T>): void {
    this.#settled.set(key, settled);
  }
}
