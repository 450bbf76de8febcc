/** Of many queues, which are worth a look: one session asks for all, where each would be looked into by itself. */
import { Poller } from "../account/poller.js";
import { RingpostError } from "../errors.js";

export interface BellOptions {
  /** Those of the queues that are worth a look. */
  readonly ask: (queues: readonly string[]) => Promise<readonly string[]>;
  readonly poll: { readonly minMs: number; readonly maxMs: number };
  readonly closing: AbortSignal;
}

/** Who has looked into a queue, and would look again only when there is something. */
export interface Listener {
  readonly queue: string;
  readonly isQuiet: boolean;
  poke(): void;
}

/** With fewer, a question is not cheaper than the looks. */
const queuesMin = 3;
/** Their names have to fit a login. */
const askedMax = 48;

export class Bell {
  readonly #options: BellOptions;
  readonly #listeners = new Set<Listener>();
  #poller: Poller | undefined;
  /** The server does not know the question. */
  #isDeaf = false;

  constructor(options: BellOptions) {
    this.#options = options;
  }

  get isOfUse(): boolean {
    return this.#listeners.size >= queuesMin && !this.#isDeaf;
  }

  add(listener: Listener): void {
    this.#listeners.add(listener);
  }

  delete(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  /** Somebody is quiet from now on. `isBusy`: asks soon, and often for a while. */
  listen({ isBusy }: { readonly isBusy: boolean }): void {
    const { poll, closing: signal } = this.#options;
    this.#poller ??= new Poller({ ...poll, look: () => this.#look(), signal });
    if (isBusy) this.#poller.poke();
  }

  async #look(): Promise<boolean> {
    const quiet = [...this.#listeners].filter(({ isQuiet }) => isQuiet);
    const queues = [...new Set(quiet.map(({ queue }) => queue))];
    let rang = false;
    for (let at = 0; at < queues.length; at += askedMax) {
      const asked = queues.slice(at, at + askedMax);
      const named = new Set(await this.#ask(asked));
      for (const listener of quiet) {
        if (!named.has(listener.queue) || !listener.isQuiet) continue;
        rang = true;
        listener.poke();
      }
    }
    return rang;
  }

  async #ask(queues: readonly string[]): Promise<readonly string[]> {
    try {
      return await this.#options.ask(queues);
    } catch (error) {
      this.#isDeaf ||= error instanceof RingpostError && !error.retryable;
      // Who can't be told has to look.
      return queues;
    }
  }
}
