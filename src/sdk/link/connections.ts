/** What others are told of what came: packets that are durable, what is consumed, how much room there is. */
import {
  type AckFrame,
  connectionId,
  ebmBounds,
  type Frame,
  type Origin,
} from "../../ebm/index.js";
import { Intervals } from "../journal/intervals.js";
import type { Journal } from "../journal/journal.js";
import type { InStream } from "../journal/in-state.js";
import type { LinkOptions } from "./ports.js";

interface View {
  readonly connection: string;
  readonly origin: Origin;
  /** Durable packets; the journal's state is ahead by what is being written. */
  readonly packets: Intervals;
  /** By stream: all up to it are durably settled. */
  readonly consumed: Map<string, number>;
  isDue: boolean;
  /** Its sender may think that we know what an earlier store of ours knew. */
  isNew: boolean;
}

export class Connections {
  readonly #views = new Map<string, View>();

  constructor(
    private readonly journal: Journal,
    private readonly options: Required<LinkOptions>,
  ) {
    for (const { connection, origin, seen } of journal.state.connections.values()) {
      this.#views.set(connection, {
        ...{ connection, origin, packets: new Intervals(seen.ranges), consumed: new Map() },
        ...{ isDue: false, isNew: false },
      });
    }
    for (const stream of journal.state.in.values()) this.settled(stream, stream.settled.through);
  }

  #viewOf(origin: Origin): View {
    const connection = connectionId(origin, this.options.user);
    const known = this.#views.get(connection);
    if (known) return known;
    const made: View = {
      ...{ connection, origin, packets: new Intervals(), consumed: new Map() },
      ...{ isDue: false, isNew: true },
    };
    this.#views.set(connection, made);
    return made;
  }

  /** A packet is durable. */
  arrived(origin: Origin, packet: number, floor: number): void {
    const view = this.#viewOf(origin);
    if (floor > 1) view.packets.add(1, floor - 1);
    if (packet > 0) view.packets.add(packet);
  }

  /** A packet without anything to keep: only its number is noted, so that it leaves no gap. */
  passed(origin: Origin, packet: number): void {
    const view = this.#views.get(connectionId(origin, this.options.user));
    if (view && packet > 0) view.packets.add(packet);
  }

  due(origin: Origin): void {
    this.#viewOf(origin).isDue = true;
  }

  /** All up to `through` is durably settled. */
  settled({ origin, stream }: InStream, through: number): void {
    const { consumed } = this.#viewOf(origin);
    if (through > (consumed.get(stream) ?? 0)) consumed.set(stream, through);
  }

  /** Octets that are there and not consumed. */
  held({ user, device, epoch }: Origin): number {
    let octets = 0;
    for (const { origin, heldOctets } of this.journal.state.in.values()) {
      if (origin.epoch !== epoch || origin.device !== device || origin.user !== user) continue;
      octets += heldOctets;
    }
    return octets;
  }

  usersDue(): ReadonlySet<string> {
    const due = [...this.#views.values()].filter(({ isDue }) => isDue);
    return new Set(due.map(({ origin }) => origin.user));
  }

  take(user: string): readonly Frame[] {
    const frames: Frame[] = [];
    for (const view of this.#views.values()) {
      if (!view.isDue || view.origin.user !== user) continue;
      view.isDue = false;
      const { connection } = view;
      const { epoch } = this.journal.identity;
      if (view.isNew) frames.push({ kind: "resume", connection, epoch });
      frames.push(this.#ackOf(view));
    }
    return frames;
  }

  /** They did not leave. */
  lost(user: string): void {
    for (const view of this.#views.values()) if (view.origin.user === user) view.isDue = true;
  }

  #ackOf({ connection, origin, packets, consumed }: View): AckFrame {
    const { windowOctets, inboxOctetsMax, pollMs } = this.options;
    const cumulative = packets.through;
    const dead = this.#deadOf(origin);
    return {
      ...{ kind: "ack", connection, cumulative },
      // The newest ones: older gaps are passed by the sender's floor.
      ranges: packets.ranges.filter(([from]) => from > cumulative).slice(-ebmBounds.ackRangesMax),
      windowOctets: Math.max(0, Math.min(windowOctets, inboxOctetsMax - this.held(origin))),
      pollMs: pollMs(),
      consumed: Object.fromEntries([...consumed].slice(-ebmBounds.streamsMax)),
      ...(dead.length > 0 && { dead }),
    };
  }

  /** A stream's last 32 are told again and again, since each telling may be lost. */
  #deadOf({ user, device, epoch }: Origin): readonly (readonly [string, number])[] {
    return [...this.journal.state.in.values()]
      .filter(({ origin: o }) => o.user === user && o.device === device && o.epoch === epoch)
      .flatMap(({ stream, dead, settled }) =>
        dead
          .filter((sequence) => settled.has(sequence))
          .map((sequence) => [stream, sequence] as const),
      );
  }
}
