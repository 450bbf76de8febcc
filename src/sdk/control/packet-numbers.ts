/** Numbers of control packets: they rise, also after a crash, since one seen before is refused. */
import type { Values } from "../journal/ports.js";

/** Reserved by one write; the rest is lost with the process. */
const reserve = 10_000;
const key = "control.packet";

export class PacketNumbers {
  readonly #values: Values;
  #next = 0;
  #reserved = 0;
  #reserving: Promise<void> | undefined;

  constructor(values: Values) {
    this.#values = values;
  }

  async next(): Promise<number> {
    while (this.#next >= this.#reserved) {
      this.#reserving ??= this.#reserve().finally(() => {
        this.#reserving = undefined;
      });
      await this.#reserving;
    }
    this.#next += 1;
    return this.#next;
  }

  async #reserve(): Promise<void> {
    const from = Math.max(Number(this.#values.get(key) ?? 0), this.#reserved);
    await this.#values.set(key, from + reserve);
    this.#next = from;
    this.#reserved = from + reserve;
  }
}
