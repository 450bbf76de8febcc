/** Memory for what is worked on: so many octets at a time, the rest in the order it came. */
export class Room {
  private free: number;
  private readonly waiting: { readonly octets: number; readonly begin: () => void }[] = [];

  constructor(
    private readonly octetsMax: number,
    private readonly waitingMax: number,
  ) {
    this.free = octetsMax;
  }

  /** Runs `work` when there is room; undefined, at once, when too many wait already. */
  async hold<T>(octets: number, work: () => Promise<T>): Promise<T | undefined> {
    const wanted = Math.min(octets, this.octetsMax);
    if (this.waiting.length > 0 || wanted > this.free) {
      if (this.waiting.length >= this.waitingMax) return undefined;
      await new Promise<void>((begin) => this.waiting.push({ octets: wanted, begin }));
    } else this.free -= wanted;
    try {
      return await work();
    } finally {
      this.free += wanted;
      this.beginNext();
    }
  }

  private beginNext(): void {
    for (;;) {
      const [next] = this.waiting;
      if (!next || next.octets > this.free) return;
      this.waiting.shift();
      this.free -= next.octets;
      next.begin();
    }
  }
}
