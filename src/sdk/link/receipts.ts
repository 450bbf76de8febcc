/** The three promises of each message that was sent by this process. */
import { RingpostError } from "../errors.js";
import type { LinkReceipt, ReceiptEvent } from "./ports.js";

const stages = ["accepted", "delivered", "consumed"] as const;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Its promises are made when somebody looks at them: most look at one at most. */
class OpenReceipt implements LinkReceipt {
  readonly id: string;
  readonly stream: string;
  readonly sequence: number;
  readonly #promises: (Promise<void> | undefined)[] = [];
  readonly #waiting: (Waiting | undefined)[] = [];
  /** So many stages are over. */
  #reached = 0;
  #failure: Error | undefined;

  constructor({ id, stream, sequence }: { id: string; stream: string; sequence: number }) {
    this.id = id;
    this.stream = stream;
    this.sequence = sequence;
  }

  get accepted(): Promise<void> {
    return this.#at(0);
  }

  get delivered(): Promise<void> {
    return this.#at(1);
  }

  get consumed(): Promise<void> {
    return this.#at(2);
  }

  #at(stage: number): Promise<void> {
    const known = this.#promises[stage];
    if (known) return known;
    const promise = new Promise<void>((resolve, reject) => {
      if (stage < this.#reached) resolve();
      else if (this.#failure) reject(this.#failure);
      else this.#waiting[stage] = { resolve, reject };
    });
    // Nobody has to look at it again.
    promise.catch(() => undefined);
    this.#promises[stage] = promise;
    return promise;
  }

  /** What is consumed has been delivered, what is delivered accepted. */
  reach(stage: number): void {
    for (; this.#reached <= stage; this.#reached += 1) this.#waiting[this.#reached]?.resolve();
  }

  fail(failure: Error): void {
    this.#failure = failure;
    for (const waiting of this.#waiting.slice(this.#reached)) waiting?.reject(failure);
  }
}

export class Receipts {
  readonly #open = new Map<string, OpenReceipt>();

  make(message: { id: string; stream: string; sequence: number }): LinkReceipt {
    const receipt = new OpenReceipt(message);
    this.#open.set(message.id, receipt);
    return receipt;
  }

  tell({ id, state, why, code }: ReceiptEvent): void {
    const open = this.#open.get(id);
    if (!open) return;
    if (state === "dead") {
      open.fail(
        new RingpostError(code ?? "dead", `message ${id} was given up: ${why ?? ""}`, false),
      );
    } else open.reach(stages.indexOf(state));
    if (state === "dead" || state === "consumed") this.#open.delete(id);
  }

  close(): void {
    const closed = new RingpostError("closed", "the client was closed before", true);
    for (const open of this.#open.values()) open.fail(closed);
    this.#open.clear();
  }
}
