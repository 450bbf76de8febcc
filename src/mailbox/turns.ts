/** One after the other, for each name. */
export class Turns {
  private readonly lines = new Map<string, (() => void)[]>();

  constructor(private readonly waitingMax: number) {}

  /** Runs `work` when it is its turn; undefined, at once, when too many wait already. */
  async take<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    const line = this.lines.get(name);
    if (line) {
      if (line.length >= this.waitingMax) return undefined;
      await new Promise<void>((resolve) => line.push(resolve));
    } else this.lines.set(name, []);
    try {
      return await work();
    } finally {
      const next = this.lines.get(name)?.shift();
      if (next) next();
      else this.lines.delete(name);
    }
  }
}
