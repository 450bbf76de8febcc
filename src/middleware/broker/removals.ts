/** Deletions of one mailbox: those that come while others are under way go together, in one write. */
import type { StoredMessage } from "../../shared/operation.js";

interface Waiting {
  readonly messages: readonly StoredMessage[];
  readonly end: (isRemoved: boolean) => void;
}

export class Removals {
  private waiting: Waiting[] = [];
  private running = false;

  /** `write`: true when the deletions are durable. */
  constructor(private readonly write: (messages: readonly StoredMessage[]) => Promise<boolean>) {}

  /** True when they are deleted for good. Never rejects. */
  remove(messages: readonly StoredMessage[]): Promise<boolean> {
    return new Promise((end) => {
      this.waiting.push({ messages, end });
      if (!this.running) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.waiting.length > 0) {
      const together = this.waiting;
      this.waiting = [];
      let isRemoved = false;
      try {
        isRemoved = await this.write(together.flatMap(({ messages }) => messages));
      } catch {
        // As when too few members answered.
      }
      for (const { end } of together) end(isRemoved);
    }
    this.running = false;
  }
}
