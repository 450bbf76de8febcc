/** Hands out what came, in order per (origin, stream), and notes what becomes of it. */
import type { MessageProperties } from "../../ebm/index.js";
import type { Journal } from "../journal/journal.js";
import { type InMessage, type InStream, isComplete } from "../journal/in-state.js";
import type { Connections } from "./connections.js";
import type { Inbound } from "./inbound.js";
import type { InboundMessage, IsWanted, LinkClock, LinkOptions } from "./ports.js";

interface Place {
  readonly stream: InStream;
  readonly message: InMessage;
}

export interface HandingContext {
  readonly journal: Journal;
  readonly options: Required<LinkOptions>;
  readonly connections: Connections;
  readonly clock: LinkClock;
  readonly ready: () => void;
}

export class Handing {
  /** By stream key: whole, checked and durable. */
  readonly #whole = new Map<string, Map<number, InMessage>>();
  readonly #out = new Map<InMessage, InboundMessage>();
  readonly #places = new WeakMap<InboundMessage, Place>();
  /** By stream key: all below is settled, or handed out and not given back. */
  readonly #passed = new Map<string, number>();
  /** Given back, not before. */
  readonly #notBeforeMs = new Map<InMessage, number>();
  #cancel: (() => void) | undefined;
  #wakeAtMs = Infinity;

  constructor(private readonly context: HandingContext) {}

  add({ key }: InStream, message: InMessage): void {
    const stream = this.#whole.get(key) ?? new Map<number, InMessage>();
    this.#whole.set(key, stream);
    stream.set(message.sequence, message);
    this.context.ready();
  }

  take(max: number, inbound: Inbound, isWanted: IsWanted): readonly InboundMessage[] {
    const taken: Place[] = [];
    const heads = new Map<InStream, InMessage>();
    for (const key of this.#whole.keys()) this.#lookAt(key, heads, inbound, isWanted);
    while (taken.length < max) {
      let best: Place | undefined;
      for (const [stream, message] of heads) {
        if (!best || priorityOf(message) > priorityOf(best.message)) best = { stream, message };
      }
      if (!best) break;
      taken.push(best);
      this.#out.set(best.message, this.#make(best));
      heads.delete(best.stream);
      this.#lookAt(best.stream.key, heads, inbound, isWanted);
    }
    this.#note(taken);
    return taken.flatMap(({ message }) => this.#out.get(message) ?? []);
  }

  #lookAt(
    key: string,
    heads: Map<InStream, InMessage>,
    inbound: Inbound,
    isWanted: IsWanted,
  ): void {
    const stream = this.context.journal.state.in.get(key);
    const message = stream && this.headOf(stream, inbound);
    if (!stream || !message || !isWanted(propertiesOf(message))) return;
    heads.set(stream, message);
  }

  /** The next to be handed out of a stream, if it may be now. */
  private headOf(stream: InStream, inbound: Inbound): InMessage | undefined {
    const whole = this.#whole.get(stream.key);
    const nowMs = this.context.clock.nowMs();
    const first = Math.max(stream.settled.through + 1, this.#passed.get(stream.key) ?? 0);
    let isPassing = true;
    for (let sequence = first; ; sequence += 1) {
      const message = whole?.get(sequence);
      const isPassed =
        stream.settled.has(sequence) || (message !== undefined && this.#out.has(message));
      isPassing &&= isPassed;
      if (isPassing) this.#passed.set(stream.key, sequence + 1);
      if (isPassed) continue;
      if (!message || !isComplete(message)) return undefined;
      const { expiresAtMs = Infinity, deliverAtMs = 0 } = message.properties ?? {};
      if (expiresAtMs <= nowMs) this.#bury({ stream, message }, "its time is over", inbound);
      else if (message.handed >= this.context.options.deliveriesMax) {
        const why = `handed out ${message.handed} times without being acknowledged`;
        this.#bury({ stream, message }, why, inbound);
      } else {
        const backAtMs = this.#notBeforeMs.get(message) ?? 0;
        if (backAtMs <= nowMs && deliverAtMs <= nowMs) return message;
        this.#wake(Math.max(backAtMs, deliverAtMs));
        // One that its sender delays lets others pass; one that was given back does not.
        if (backAtMs > nowMs) return undefined;
      }
    }
  }

  #bury({ stream, message }: Place, why: string, inbound: Inbound): void {
    this.#forget({ stream, message });
    inbound.bury(stream, message, why).catch(() => undefined);
  }

  #forget({ stream, message }: Place): void {
    const whole = this.#whole.get(stream.key);
    whole?.delete(message.sequence);
    if (whole?.size === 0) {
      this.#whole.delete(stream.key);
      this.#passed.delete(stream.key);
    }
    this.#out.delete(message);
    this.#notBeforeMs.delete(message);
  }

  #wake(atMs: number): void {
    const nowMs = this.context.clock.nowMs();
    if (atMs >= this.#wakeAtMs && this.#wakeAtMs > nowMs) return;
    this.#cancel?.();
    // One that is due, and whose timer is late, is still waited for.
    this.#wakeAtMs = Math.min(atMs, this.#wakeAtMs);
    const ms = Math.min(Math.max(1, this.#wakeAtMs - nowMs), 86_400_000);
    this.#cancel = this.context.clock.after(ms, () => {
      this.#wakeAtMs = Infinity;
      this.context.ready();
    });
  }

  /** Not waited for: it counts for a consumer that dies of it, and a power cut may forget one. */
  #note(taken: readonly Place[]): void {
    const byStream = new Map<string, number[]>();
    for (const { stream, message } of taken) {
      const sequences = byStream.get(stream.key) ?? [];
      byStream.set(stream.key, sequences);
      sequences.push(message.sequence);
    }
    for (const [key, sequences] of byStream) {
      this.context.journal.note({ kind: "handed", key, sequences });
    }
  }

  #make(place: Place): InboundMessage {
    const { stream, message } = place;
    const { content, size } = message;
    const made: InboundMessage = {
      ...{ origin: stream.origin, stream: stream.stream, sequence: message.sequence },
      ...{ id: message.id, octets: size, redelivered: message.handed },
      properties: propertiesOf(message),
      body: () => this.context.journal.read(content, 0, size),
    };
    this.#places.set(made, place);
    return made;
  }

  async consume(handed: InboundMessage): Promise<void> {
    const place = this.#places.get(handed);
    if (!place) throw new Error("a message of another link");
    const { stream, message } = place;
    const { journal, connections } = this.context;
    const { key, settled, origin } = stream;
    this.#forget(place);
    const written = journal.write({ kind: "inSettled", key, sequence: message.sequence });
    const { through } = settled;
    await written;
    connections.settled(stream, through);
    connections.due(origin);
  }

  giveBack(handed: InboundMessage, delayMs: number): void {
    const place = this.#places.get(handed);
    if (!place || this.#out.get(place.message) !== handed) return;
    this.#out.delete(place.message);
    const { key } = place.stream;
    const { sequence } = place.message;
    this.#passed.set(key, Math.min(sequence, this.#passed.get(key) ?? sequence));
    if (delayMs > 0) {
      this.#notBeforeMs.set(place.message, this.context.clock.nowMs() + delayMs);
      this.#wake(this.context.clock.nowMs() + delayMs);
    } else this.context.ready();
  }

  async reject(handed: InboundMessage, why: string, inbound: Inbound): Promise<void> {
    const place = this.#places.get(handed);
    if (!place) return;
    this.#forget(place);
    await inbound.bury(place.stream, place.message, why);
  }

  close(): void {
    this.#cancel?.();
  }
}

const propertiesOf = ({ properties }: InMessage): MessageProperties =>
  properties ?? { sentAtMs: 0 };
const priorityOf = ({ properties }: InMessage): number => properties?.priority ?? 4;
