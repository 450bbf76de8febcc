/** Data that comes: deduplicated by (origin, stream, sequence), journaled, put together, checked. */
import { createHash } from "node:crypto";
import { type DataFrame, ebmBounds, type Origin, type PacketHeader } from "../../ebm/index.js";
import { inlineOctetsMax, type Journal } from "../journal/journal.js";
import type { LetterFacts, Part } from "../journal/records.js";
import { type InMessage, type InStream, isComplete, streamKey } from "../journal/in-state.js";
import type { Connections } from "./connections.js";
import type { LinkOptions } from "./ports.js";

const chunkOctets = 1024 * 1024;
/** After its time is over, no sender sends the rest of a message; clocks differ, and what it sent before may be late. */
const restLateMs = 600_000;
const restsEveryMs = 60_000;

export interface InboundContext {
  readonly journal: Journal;
  readonly options: Required<LinkOptions>;
  readonly connections: Connections;
  readonly nowMs: () => number;
  /** Whole, checked and durable. */
  readonly whole: (stream: InStream, message: InMessage) => void;
  /** What was waited for does not come, so that what is behind it may be handed out. */
  readonly passed: () => void;
  /** In the dead letters, durably. */
  readonly dead: (letter: LetterFacts) => void;
}

export class Inbound {
  #restsAtMs = 0;

  constructor(private readonly context: InboundContext) {
    for (const stream of context.journal.state.in.values()) {
      for (const message of stream.messages.values()) {
        if (isComplete(message)) void this.#checked(stream, message);
      }
    }
  }

  /** Resolves when the packet may be acknowledged; to a reason when there is no room for it now. */
  async take(header: PacketHeader, frames: readonly DataFrame[]): Promise<string | undefined> {
    const { from: origin } = header;
    const fresh = frames.filter((frame) => this.isWanted(origin, frame));
    const strange = this.#strange(origin, fresh);
    if (strange !== undefined) return strange;
    const why = this.#refusal(origin, fresh);
    if (why === undefined) await this.#store(header, frames, fresh);
    else {
      const passed = this.#passedIn(origin, fresh);
      if (passed.length > 0) await this.#store({ ...header, packet: 0, floor: 0 }, passed, passed);
    }
    return why;
  }

  /** What its sender has passed over needs no room, and may make some: without it, that in front of which it is stays. */
  #passedIn(origin: Origin, frames: readonly DataFrame[]): readonly DataFrame[] {
    const { state } = this.context.journal;
    return frames
      .filter(({ stream: name, base = 0, void: isVoid }) => {
        const stream = state.in.get(streamKey(origin, name));
        return stream !== undefined && (isVoid === true || base > stream.base);
      })
      .map((frame) => {
        if (frame.void === true) return frame;
        return { ...frame, size: Math.max(1, frame.size), offset: 0, octets: Buffer.alloc(0) };
      });
  }

  /** Packet 0: of one that is not taken as a whole. */
  async #store(
    header: PacketHeader,
    frames: readonly DataFrame[],
    fresh: readonly DataFrame[],
  ): Promise<void> {
    const { journal, connections } = this.context;
    const { from: origin, connection, packet, floor = 0 } = header;
    const { parts, bodies } = await this.#place(origin, fresh);
    const written = journal.write(
      { kind: "in", connection, packet, floor, origin, parts },
      Buffer.concat(bodies),
    );
    const touched = this.#streamsOf(origin, frames);
    const through = touched.map(({ settled }) => settled.through);
    const complete = touched.flatMap((stream) => this.#newlyComplete(stream, fresh));
    await written;
    connections.arrived(origin, packet, floor);
    touched.forEach((stream, index) => connections.settled(stream, through[index] ?? 0));
    connections.due(origin);
    for (const [stream, message] of complete) void this.#checked(stream, message);
    if (fresh.some((frame) => frame.void === true || frame.base !== undefined)) {
      this.context.passed();
    }
  }

  private isWanted(origin: Origin, frame: DataFrame): boolean {
    const stream = this.context.journal.state.in.get(streamKey(origin, frame.stream));
    // Also for its base, which may be all that a frame brings.
    if (frame.base !== undefined && frame.base > (stream?.base ?? 1)) return true;
    if (frame.octets.length === 0 && frame.size > 0) return false;
    if (!stream) return true;
    if (stream.settled.has(frame.sequence)) return false;
    return !isComplete(stream.messages.get(frame.sequence));
  }

  /** For another program of this user, or a later one. A mail that is also for this one is taken as a whole. */
  #strange(origin: Origin, frames: readonly DataFrame[]): string | undefined {
    const { journal, options } = this.context;
    const messages = frames.filter(
      ({ octets, size, void: isVoid }) => isVoid !== true && (octets.length > 0 || size === 0),
    );
    const isOurs = ({ stream, sequence, properties }: DataFrame): boolean => {
      const known = journal.state.in.get(streamKey(origin, stream))?.messages.get(sequence);
      return options.isConsumed(properties ?? known?.properties);
    };
    return messages.length === 0 || messages.some(isOurs) ? undefined : "nobody consumes it here";
  }

  #refusal(origin: Origin, frames: readonly DataFrame[]): string | undefined {
    const { journal, connections, options } = this.context;
    const { state } = journal;
    const isKnown = ({ stream }: DataFrame) => state.in.has(streamKey(origin, stream));
    if (!frames.every(isKnown)) {
      const of = [...state.in.values()].filter(
        ({ origin: o }) => o.user === origin.user && o.device === origin.device,
      );
      const names = new Set([...of, ...frames].map(({ stream }) => stream));
      if (names.size > ebmBounds.streamsMax) return "too many streams";
    }
    const octets = frames.reduce((sum, frame) => sum + this.#newOctets(origin, frame), 0);
    const excess = connections.held(origin) + octets - options.inboxOctetsMax;
    if (octets === 0 || excess <= 0) return undefined;
    // What comes next in its order can be consumed, and makes room.
    const isNext = ({ stream, sequence }: DataFrame) =>
      sequence === (state.in.get(streamKey(origin, stream))?.settled.through ?? 0) + 1;
    if (frames.some(isNext)) return undefined;
    return `the inbox is full: ${excess} octets too many from ${origin.user}`;
  }

  /**
   * A second copy of what lies here takes no room. Refused, it would not be acknowledged again either, and
   * its sender, whose first acknowledgement was lost, would wait for as long as nobody consumes.
   */
  #newOctets(origin: Origin, { stream, sequence, offset, octets }: DataFrame): number {
    const streams = this.context.journal.state.in;
    const message = streams.get(streamKey(origin, stream))?.messages.get(sequence);
    if (!message) return octets.length;
    const missing = message.have.missing(offset + 1, offset + octets.length);
    return missing.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  }

  /** Octets go into the record, or for large messages and parts of messages into a file. */
  async #place(origin: Origin, frames: readonly DataFrame[]) {
    const parts: Part[] = [];
    const bodies: Buffer[] = [];
    for (const frame of frames) {
      const { stream, sequence, id, size, offset, digest, properties, base, octets } = frame;
      const isInline = octets.length === size && size <= inlineOctetsMax;
      const file = isInline || octets.length === 0 ? undefined : fileOf(origin, stream, sequence);
      if (file === undefined) bodies.push(octets);
      else await this.context.journal.spool(file, octets, offset);
      parts.push({
        ...{ stream, sequence, id, size, offset, octets: octets.length },
        ...(digest !== undefined && { digest }),
        ...(properties !== undefined && { properties }),
        ...(base !== undefined && { base }),
        ...(frame.void === true && { isVoid: true }),
        ...(file !== undefined && { file }),
      });
    }
    return { parts, bodies };
  }

  #streamsOf(origin: Origin, frames: readonly DataFrame[]): InStream[] {
    const keys = new Set(frames.map(({ stream }) => streamKey(origin, stream)));
    return [...keys].flatMap((key) => this.context.journal.state.in.get(key) ?? []);
  }

  #newlyComplete(stream: InStream, frames: readonly DataFrame[]): [InStream, InMessage][] {
    const complete = new Set<InMessage>();
    for (const frame of frames) {
      const message = frame.stream === stream.stream && stream.messages.get(frame.sequence);
      if (message && isComplete(message)) complete.add(message);
    }
    return [...complete].map((message) => [stream, message]);
  }

  /** What came in pieces is one message only if its digest fits. */
  async #checked(stream: InStream, message: InMessage): Promise<void> {
    try {
      if (!message.isWhole && !(await this.#hasDigest(message))) {
        return await this.bury(stream, message, "its pieces do not make the message that was sent");
      }
      this.context.whole(stream, message);
    } catch {
      // The journal has failed, and has told so; or the body can't be read: the next start tries again.
    }
  }

  async #hasDigest({ content, size, digest }: InMessage): Promise<boolean> {
    const hash = createHash("sha256");
    for (let at = 0; at < size; at += chunkOctets) {
      hash.update(await this.context.journal.read(content, at, Math.min(size, at + chunkOctets)));
    }
    return hash.digest("base64url") === digest;
  }

  /**
   * Parts whose rest nobody sends any more: they would take room of the window for as long as their stream has no
   * further message. To be called now and then.
   */
  buryRests(): void {
    const nowMs = this.context.nowMs();
    if (nowMs < this.#restsAtMs) return;
    this.#restsAtMs = nowMs + restsEveryMs;
    for (const stream of this.context.journal.state.in.values()) {
      for (const message of stream.messages.values()) {
        const { expiresAtMs = Infinity } = message.properties ?? {};
        if (isComplete(message) || expiresAtMs + restLateMs > nowMs) continue;
        this.bury(stream, message, "its time is over, and its rest has not come").catch(
          () => undefined,
        );
      }
    }
  }

  /** To the dead letters; settled for its sender, so that the window moves. */
  async bury(
    stream: InStream,
    { id, sequence, properties }: InMessage,
    why: string,
  ): Promise<void> {
    const { journal, connections, nowMs, dead, passed } = this.context;
    const { key, origin } = stream;
    const letter: LetterFacts = {
      ...{ id, direction: "in", why: why.slice(0, 256), atMs: nowMs(), user: origin.user },
      ...{ stream: stream.stream, sequence, ...(properties && { properties }) },
    };
    if (stream.settled.has(sequence)) return;
    const written = journal.write({ kind: "inSettled", key, sequence, letter });
    const { through } = stream.settled;
    await written;
    connections.settled(stream, through);
    connections.due(origin);
    dead(letter);
    passed();
  }
}

function fileOf(origin: Origin, stream: string, sequence: number): string {
  const hash = createHash("sha256").update(`${streamKey(origin, stream)}\n${sequence}`);
  return `in-${hash.digest("hex").slice(0, 40)}`;
}
