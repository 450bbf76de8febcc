/**
 * Opens queues to consume them. A queue that isn't there looks, by POP3, like a wrong password: the ring is asked what is
 * the matter, and the program is told once, not at each look.
 */
import type { Pop3Client } from "../../client/pop3-client.js";
import type { QueueStatus } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";

export interface QueueDoorsOptions {
  readonly open: (name: string, use: (client: Pop3Client) => Promise<void>) => Promise<void>;
  /** @throws RingpostError `unknown`, `forbidden` */
  readonly status: (name: string) => Promise<QueueStatus>;
  readonly failed: (queue: string, error: unknown) => void;
}

export class QueueDoors {
  readonly #options: QueueDoorsOptions;
  /** Not there when they were looked for: a login for them is in vain, and a question is cheaper. */
  readonly #missing = new Set<string>();
  /** What the program knows already, until the queue can be opened again. */
  readonly #told = new Map<string, string>();
  /** They are made when they are first needed: that they are not there yet is no failure. */
  readonly #madeLater = new Set<string>();

  constructor(options: QueueDoorsOptions) {
    this.#options = options;
  }

  /** A queue of dead letters. */
  expect(name: string): void {
    this.#madeLater.add(name);
  }

  /** @throws RingpostError `unknown`, `forbidden`, and what opening a maildrop throws */
  async open(name: string, use: (client: Pop3Client) => Promise<void>): Promise<void> {
    if (this.#missing.has(name)) await this.#ask(name);
    try {
      await this.#options.open(name, use);
    } catch (error) {
      if (error instanceof RingpostError && error.code === "denied") await this.#ask(name);
      throw error;
    }
    this.#told.delete(name);
  }

  /** A consumer failed: told to the program, unless it knows. */
  failed(queue: string, error: unknown): void {
    const code = error instanceof RingpostError ? error.code : "";
    if (code === "unknown" && this.#madeLater.has(queue)) return;
    if (code !== "" && this.#told.get(queue) === code) return;
    this.#told.set(queue, code);
    this.#options.failed(queue, error);
  }

  /** What the ring says of a queue, without telling that one that is made later is not there. */
  async status(name: string): Promise<QueueStatus> {
    try {
      return await this.#options.status(name);
    } catch (error) {
      const isUnknown = error instanceof RingpostError && error.code === "unknown";
      if (!isUnknown || !this.#madeLater.has(name)) throw error;
      return { ready: 0, delayed: 0, leased: 0, octets: 0 };
    }
  }

  async #ask(name: string): Promise<void> {
    try {
      await this.#options.status(name);
      this.#missing.delete(name);
    } catch (error) {
      if (error instanceof RingpostError && error.code === "unknown") this.#missing.add(name);
      throw error;
    }
  }
}
