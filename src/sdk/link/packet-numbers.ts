/** Numbers of a connection's packets. None is ever used twice: they are reserved in the journal before. */
import type { Journal } from "../journal/journal.js";

const reservedAtOnce = 1_000;

export interface PacketNumbersOptions {
  readonly journal: Journal;
  readonly connection: string;
  /** There are some again. */
  readonly reserved: () => void;
}

export class PacketNumbers {
  readonly #options: PacketNumbersOptions;
  #next: number;
  #upTo: number;
  #isReserving = false;

  constructor(options: PacketNumbersOptions) {
    this.#options = options;
    // What was reserved before a restart may have been used.
    this.#upTo = options.journal.state.reserved.get(options.connection) ?? 0;
    this.#next = this.#upTo + 1;
  }

  /** Whether there is one to take; more are reserved in time. */
  get hasNext(): boolean {
    if (this.#upTo - this.#next < reservedAtOnce / 4) void this.#reserve();
    return this.#next <= this.#upTo;
  }

  take(): number {
    const number = this.#next;
    this.#next += 1;
    return number;
  }

  async #reserve(): Promise<void> {
    if (this.#isReserving) return;
    this.#isReserving = true;
    const { journal, connection, reserved } = this.#options;
    const upTo = Math.max(this.#upTo, this.#next - 1) + reservedAtOnce;
    try {
      await journal.write({ kind: "reserve", connection, upTo });
      this.#upTo = upTo;
    } catch {
      return; // The journal has failed, and has told so.
    } finally {
      this.#isReserving = false;
    }
    reserved();
  }
}
