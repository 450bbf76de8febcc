/**
 * Questions to the group of a name that many ask at the same time. An answer must not be older than its question, so
 * those that come while one is under way do not share its answer; they share the next one.
 */
interface Line<T> {
  readonly current: Promise<T>;
  next: Promise<T> | undefined;
}

export class Latest<T> {
  private readonly lines = new Map<string, Line<T>>();

  ask(name: string, work: () => Promise<T>): Promise<T> {
    const line = this.lines.get(name);
    if (!line) return this.begin(name, work);
    const begin = (): Promise<T> => this.begin(name, work);
    line.next ??= line.current.then(begin, begin);
    return line.next;
  }

  private begin(name: string, work: () => Promise<T>): Promise<T> {
    const line: Line<T> = { current: work(), next: undefined };
    this.lines.set(name, line);
    const end = (): void => {
      if (line.next === undefined) this.lines.delete(name);
    };
    line.current.then(end, end);
    return line.current;
  }
}
