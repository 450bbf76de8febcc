/** The three promises of each message that was sent by this process. */
import { RingpostError } from "../errors.js";
import type { LinkReceipt, ReceiptEvent } from "./ports.js";

const stages = ["accepted", "delivered", "consumed"] as const;

interface Open {
  readonly resolve: readonly (() => void)[];
  readonly reject: (error: Error) => void;
}

export class Receipts {
  readonly #open = new Map<string, Open>();

  make(message: { id: string; stream: string; sequence: number }): LinkReceipt {
    const resolves: (() => void)[] = [];
    const rejects: ((error: Error) => void)[] = [];
    const promises = stages.map(() => {
      const promise = new Promise<void>((resolve, reject) => {
        resolves.push(resolve);
        rejects.push(reject);
      });
      // Nobody has to look at all of them.
      promise.catch(() => undefined);
      return promise;
    });
    const [accepted, delivered, consumed] = promises as [
      Promise<void>,
      Promise<void>,
      Promise<void>,
    ];
    const reject = (error: Error) => {
      for (const each of rejects) each(error);
    };
    this.#open.set(message.id, { resolve: resolves, reject });
    const { id, stream, sequence } = message;
    return { id, stream, sequence, accepted, delivered, consumed };
  }

  tell({ id, state, why }: ReceiptEvent): void {
    const open = this.#open.get(id);
    if (!open) return;
    if (state === "dead") {
      open.reject(new RingpostError("dead", `message ${id} was given up: ${why ?? ""}`, false));
    } else {
      // What is consumed has been delivered, what is delivered accepted.
      for (const resolve of open.resolve.slice(0, stages.indexOf(state) + 1)) resolve();
    }
    if (state === "dead" || state === "consumed") this.#open.delete(id);
  }

  close(): void {
    const closed = new RingpostError("closed", "the client was closed before", true);
    for (const { reject } of this.#open.values()) reject(closed);
    this.#open.clear();
  }
}
