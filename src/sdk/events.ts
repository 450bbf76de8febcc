/** Who listens to what; a listener that throws harms nobody else. */
import type { RingpostEvents } from "./api.js";

type Listener<E extends keyof RingpostEvents> = (value: RingpostEvents[E]) => void;

export class Events {
  readonly #listeners = new Map<keyof RingpostEvents, Set<Listener<never>>>();

  on<E extends keyof RingpostEvents>(event: E, listener: Listener<E>): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }

  has(event: keyof RingpostEvents): boolean {
    return (this.#listeners.get(event)?.size ?? 0) > 0;
  }

  off<E extends keyof RingpostEvents>(event: E, listener: Listener<E>): void {
    this.#listeners.get(event)?.delete(listener);
  }

  emit<E extends keyof RingpostEvents>(event: E, value: RingpostEvents[E]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as Listener<E>)(value);
      } catch (error) {
        // As an error thrown in a timer would be: seen by the application, not by the others.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
