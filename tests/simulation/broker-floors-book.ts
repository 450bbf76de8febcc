/** What publishers were promised, and what consumers saw and acknowledged: of every queue, by text. */

/** One entry, as a consumer saw it. */
export interface Sight {
  readonly uid: string;
  readonly texts: readonly string[];
}

interface Line {
  /** Ids under which it was shown. */
  readonly seen: Set<string>;
  ackedAtMs?: number;
  /** Perhaps acknowledged: the answer got lost. */
  maybe?: true;
  promisedAtMs?: number;
  isRecut?: true;
}

export class Book {
  /** In a ring of two, one that is cut off goes on showing what the other deletes (ARCHITECTURE.md). */
  isLenient = false;
  readonly violations: string[] = [];
  private readonly lines = new Map<string, Line>();

  private line(queue: string, text: string): Line {
    const key = `${queue}: ${text}`;
    const line = this.lines.get(key) ?? { seen: new Set<string>() };
    this.lines.set(key, line);
    return line;
  }

  violate(what: string): void {
    this.violations.push(what);
  }

  /**
   * Its publisher begins with it anew, cut otherwise: what there was is void, unless all of it was there. Who had
   * it by then knows the message by its origin.
   */
  recut(queue: string, text: string): void {
    this.line(queue, text).isRecut = true;
  }

  promise(queue: string, text: string, atMs: number): void {
    const line = this.line(queue, text);
    line.promisedAtMs = atMs;
    if (!line.isRecut) return;
    if (line.ackedAtMs !== undefined) line.maybe = true;
    delete line.ackedAtMs;
    line.seen.clear();
  }

  /** `openedAtMs`: when the consumer asked. */
  see(queue: string, { uid, texts }: Sight, openedAtMs: number): void {
    for (const text of texts) {
      const line = this.line(queue, text);
      if (line.isRecut && openedAtMs < (line.promisedAtMs ?? Infinity)) continue;
      if (!this.isLenient && (line.ackedAtMs ?? Infinity) < openedAtMs) {
        this.violate(`${queue}: ${text} (${uid}) is shown after it was acknowledged`);
      }
      line.seen.add(uid);
      if (line.seen.size === 2) {
        this.violate(`${queue}: ${text} is shown as ${[...line.seen].join(" and as ")}`);
      }
    }
  }

  acknowledge(
    queue: string,
    { texts }: Sight,
    when: { readonly isDone: boolean; readonly openedAtMs: number; readonly atMs: number },
  ): void {
    for (const text of texts) {
      const line = this.line(queue, text);
      const wasVoid = line.isRecut && when.openedAtMs < (line.promisedAtMs ?? Infinity);
      if (when.isDone && !wasVoid) line.ackedAtMs ??= when.atMs;
      else line.maybe = true;
    }
  }

  get passed(): number {
    return [...this.lines.values()].filter(({ ackedAtMs }) => ackedAtMs !== undefined).length;
  }

  judge(): void {
    for (const [key, { promisedAtMs, ackedAtMs, maybe }] of this.lines) {
      if (promisedAtMs === undefined || ackedAtMs !== undefined || maybe) continue;
      this.violate(`${key} is lost`);
    }
  }
}
