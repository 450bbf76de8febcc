/** The octets of a mailbox's messages: from this node's disk, or from the member that is heard first. */
import { createHash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { MailboxName } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import type { Bodies } from "./bodies.js";
import type { Groups } from "./group.js";
import { firstToRead } from "./hedge.js";
import type { Peers } from "./peers.js";
import type { Clock, Files, Store } from "./ports.js";

export interface ReaderOptions {
  readonly peers: Peers;
  readonly groups: Groups;
  readonly store: Store;
  readonly files: Files;
  readonly bodies: Bodies;
  readonly clock: Clock;
  readonly log: Log;
}

/** A piece of a body takes a few milliseconds; a client need not notice that a member froze. */
const stallMs = 250;

/** Needs no lock: messages do not change. */
export class MessageReader {
  constructor(
    private readonly options: ReaderOptions,
    private readonly mailbox: MailboxName,
  ) {}

  /**
   * The octets of a message: trace, then body, checked against its digest before the first octet
   * is handed out.
   * @throws Error when no member has a sound copy now
   */
  async read(message: StoredMessage, signal: AbortSignal): Promise<Buffer | AsyncIterable<Buffer>> {
    const trace = Buffer.from(message.trace, "utf8");
    const local = await this.readLocal(message);
    if (Buffer.isBuffer(local)) return Buffer.concat([trace, local]);
    if (local) return chain(trace, local);
    const body = await this.fetch(message, signal);
    if (body.kind === "bytes") return Buffer.concat([trace, body.bytes]);
    return chain(trace, this.streamFile(body.path, body.octets));
  }

  private async readLocal(
    message: StoredMessage,
  ): Promise<Buffer | AsyncIterable<Buffer> | undefined> {
    const { store, log } = this.options;
    const { digest, bodyOctets } = message;
    try {
      if (bodyOctets <= limits.inlineBodyOctetsMax) return await store.readBody(digest);
      const hash = createHash("sha256");
      let found = false;
      for await (const chunk of this.streamLocal(message)) {
        hash.update(chunk);
        found = true;
      }
      if (!found) return undefined;
      if (hash.digest("hex") === digest) return this.streamLocal(message);
      log.warn({ digest }, "a body is damaged");
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      log.warn({ digest }, "a body is damaged");
    }
    return undefined;
  }

  /** Every piece is in the same buffer: it is used up before the next one is asked for. */
  private async *streamLocal({ digest, bodyOctets }: StoredMessage): AsyncGenerator<Buffer> {
    const into = Buffer.allocUnsafe(limits.bodyChunkOctets);
    for (let offset = 0; offset < bodyOctets; ) {
      const length = Math.min(limits.bodyChunkOctets, bodyOctets - offset);
      const chunk = await this.options.store.readBody(digest, { offset, length, into });
      if (!chunk || chunk.length === 0) return;
      offset += chunk.length;
      yield chunk;
    }
  }

  private async *streamFile(path: string, octets: number): AsyncGenerator<Buffer> {
    const { files } = this.options;
    try {
      for (let offset = 0; offset < octets; ) {
        const chunk = await files.read(path, offset, limits.bodyChunkOctets);
        if (chunk.length === 0) throw new Error("the spool file ended early");
        offset += chunk.length;
        yield chunk;
      }
    } finally {
      await files.remove(path);
    }
  }

  /** From the group's members that are heard first; see `firstToRead`. */
  private async fetch(message: StoredMessage, signal: AbortSignal): Promise<Body> {
    const { groups, peers, bodies, files, clock } = this.options;
    const { liveness } = peers;
    const others = groups
      .placementOf(this.mailbox)
      .everyone.filter((member) => !peers.isSelf(member.uuid));
    const body = await firstToRead({
      sources: [
        ...others.filter(({ uuid }) => !liveness.isQuiet(uuid)),
        ...others.filter(({ uuid }) => liveness.isQuiet(uuid)),
      ],
      read: (member, attempt) =>
        bodies.fetch(member, message.digest, message.bodyOctets, attempt.signal, attempt.alive),
      discard: async (late) => {
        if (late.kind === "file") await files.remove(late.path);
      },
      ...{ stallMs, clock, signal },
    });
    if (!body) throw new Error("no member has a sound copy of the message now");
    await this.heal(body);
    return body;
  }

  /** This node should have had the body: it gets it back. */
  private async heal(body: Body): Promise<void> {
    const { groups, peers, store, files, log } = this.options;
    const { everyone } = groups.placementOf(this.mailbox);
    if (!everyone.some((member) => peers.isSelf(member.uuid))) return;
    try {
      if (body.kind === "file") {
        const path = store.spoolPath();
        await files.link(body.path, path);
        await store.write([], [{ ...body, path }]);
      } else await store.write([], [body]);
      log.info({ digest: body.digest }, "a body was healed from a replica");
    } catch (error) {
      log.warn({ digest: body.digest, error: String(error) }, "a body could not be healed");
    }
  }
}

async function* chain(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}
