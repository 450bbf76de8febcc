/** Bodies on their way between members: received in pieces, or fetched where they are missing. */
import { createHash, type Hash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { BodyDigest } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import type { BodyHeader, Caller } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Clock, Files, SpoolFile, Store } from "./ports.js";

interface Transfer {
  readonly file: SpoolFile;
  readonly hash: Hash;
  octets: number;
  lastChunkMs: number;
  /** Pieces are written in order of their arrival. */
  tail: Promise<void>;
}

const transfersMax = 64;
const transferIdleMs = 60_000;
/** Of one answer to `bodies`. */
const someOctetsMax = 4 * 1024 * 1024;
const sliceOctets = 128 * 1024;

interface BodiesOptions {
  readonly store: Store;
  readonly files: Files;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

export class Bodies {
  private readonly transfers = new Map<string, Transfer>();

  constructor(private readonly options: BodiesOptions) {}

  /** One piece of a large body, pushed by a coordinator. */
  async receiveChunk(
    from: Caller,
    transfer: string,
    offset: number,
    chunk: Buffer,
  ): Promise<{ kind: "ok" } | { kind: "failed"; why: string }> {
    const key = `${from.uuid}/${transfer}`;
    if (offset === 0) {
      const refusal = await this.begin(key);
      if (refusal) return { kind: "failed", why: refusal };
    }
    const open = this.transfers.get(key);
    if (open?.octets !== offset) return { kind: "failed", why: "a piece is missing" };
    open.octets += chunk.length;
    open.lastChunkMs = this.options.clock.monotonicMs();
    open.hash.update(chunk);
    open.tail = open.tail.then(() => open.file.append(chunk));
    try {
      await open.tail;
      return { kind: "ok" };
    } catch (error) {
      await this.discard(key);
      return { kind: "failed", why: `spool: ${String(error)}` };
    }
  }

  private async begin(key: string): Promise<string | undefined> {
    await this.discardIdle();
    if (this.transfers.size >= transfersMax) return "too many bodies are being received";
    const file = await this.options.files.create(this.options.store.spoolPath());
    const hash = createHash("sha256");
    const lastChunkMs = this.options.clock.monotonicMs();
    this.transfers.set(key, { file, hash, octets: 0, lastChunkMs, tail: Promise.resolve() });
    return undefined;
  }

  /** Turns the headers of a `replicate` and its blobs into bodies for the store. */
  async collect(
    from: Caller,
    headers: readonly BodyHeader[],
    blobs: readonly Buffer[],
  ): Promise<readonly Body[]> {
    let next = 0;
    const bodies: Body[] = [];
    for (const { digest, octets, transfer } of headers) {
      if (transfer === undefined) {
        const bytes = blobs[next];
        next += 1;
        if (bytes?.length !== octets) throw new Error("a body is not of the announced size");
        bodies.push({ kind: "bytes", digest, bytes });
      } else if (this.options.peers.isSelf(from.uuid)) {
        bodies.push({ kind: "file", digest, octets, path: transfer });
      } else {
        bodies.push(await this.finish(`${from.uuid}/${transfer}`, digest, octets));
      }
    }
    return bodies;
  }

  private async finish(key: string, digest: BodyDigest, octets: number): Promise<Body> {
    const transfer = this.transfers.get(key);
    if (!transfer) throw new Error("the body did not arrive");
    this.transfers.delete(key);
    await transfer.tail;
    await transfer.file.close();
    if (transfer.octets !== octets || transfer.hash.digest("hex") !== digest) {
      await this.options.files.remove(transfer.file.path);
      throw new Error("the body that arrived is not the one announced");
    }
    return { kind: "file", digest, octets, path: transfer.file.path };
  }

  /** Removes the spool files of bodies that were not stored. */
  async dispose(bodies: readonly Body[]): Promise<void> {
    for (const body of bodies) {
      if (body.kind === "file") await this.options.files.remove(body.path);
    }
  }

  private async discardIdle(): Promise<void> {
    const now = this.options.clock.monotonicMs();
    for (const [key, transfer] of this.transfers) {
      if (now - transfer.lastChunkMs > transferIdleMs) await this.discard(key);
    }
  }

  private async discard(key: string): Promise<void> {
    const transfer = this.transfers.get(key);
    if (!transfer) return;
    this.transfers.delete(key);
    await transfer.file.close().catch(() => undefined);
    await this.options.files.remove(transfer.file.path);
  }

  /**
   * Fetches a body from a member and checks its digest. Undefined when that member hasn't a
   * sound copy. Large ones come as a file in the spool, which the caller has to use or remove;
   * `onPiece` hears of each piece.
   */
  async fetch(
    from: Caller,
    digest: BodyDigest,
    octets: number,
    signal?: AbortSignal,
    onPiece?: () => void,
  ): Promise<Body | undefined> {
    return octets <= limits.inlineBodyOctetsMax
      ? this.fetchSmall(from, digest, octets, signal)
      : this.fetchLarge(from, digest, octets, signal, onPiece);
  }

  private async fetchSmall(
    from: Caller,
    digest: BodyDigest,
    octets: number,
    signal?: AbortSignal,
  ): Promise<Body | undefined> {
    const bytes = await this.readChunk(from, digest, 0, octets, signal);
    if (!bytes || sha256(bytes) !== digest) return undefined;
    return { kind: "bytes", digest, bytes };
  }

  private async fetchLarge(
    from: Caller,
    digest: BodyDigest,
    octets: number,
    signal?: AbortSignal,
    onPiece?: () => void,
  ): Promise<Body | undefined> {
    const { files, store } = this.options;
    const file = await files.create(store.spoolPath());
    const hash = createHash("sha256");
    let sound = false;
    try {
      let offset = 0;
      while (offset < octets) {
        const length = Math.min(limits.bodyChunkOctets, octets - offset);
        const chunk = await this.readChunk(from, digest, offset, length, signal);
        if (chunk?.length !== length) return undefined;
        onPiece?.();
        hash.update(chunk);
        await file.append(chunk);
        offset += length;
      }
      sound = hash.digest("hex") === digest;
    } finally {
      await file.close();
      if (!sound) await files.remove(file.path);
    }
    return sound ? { kind: "file", digest, octets, path: file.path } : undefined;
  }

  private async readChunk(
    from: Caller,
    digest: BodyDigest,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Buffer | undefined> {
    const reply = await this.options.peers.call(
      from,
      "readBody",
      { digest, offset, length },
      { deadlineMs: limits.peerTransferDeadlineMs, ...(signal && { signal }) },
    );
    return reply.kind === "bytes" ? reply.blobs?.[0] : undefined;
  }

  /** Small bodies in one answer, for what is copied; undefined where there is no sound copy. */
  async fetchSome(
    from: Caller,
    digests: readonly BodyDigest[],
    signal?: AbortSignal,
  ): Promise<readonly (Body | undefined)[]> {
    const reply = await this.options.peers.call(
      from,
      "bodies",
      { digests },
      { deadlineMs: limits.peerTransferDeadlineMs, ...(signal && { signal }) },
    );
    let next = 0;
    return digests.map((digest, index) => {
      const bytes = reply.found[index] ? reply.blobs?.[next++] : undefined;
      return bytes && sha256(bytes) === digest ? { kind: "bytes", digest, bytes } : undefined;
    });
  }

  /** Serves `bodies`. In slices, so that clients are not kept waiting for all of it. */
  async serveSome(
    digests: readonly BodyDigest[],
  ): Promise<{ found: readonly boolean[]; blobs: readonly Buffer[] }> {
    const found: boolean[] = [];
    const blobs: Buffer[] = [];
    let octets = 0;
    let yieldAt = sliceOctets;
    for (const digest of digests) {
      if (octets >= someOctetsMax) break;
      const bytes = await this.serve(digest, 0, limits.inlineBodyOctetsMax);
      found.push(bytes !== undefined);
      if (bytes) blobs.push(bytes);
      octets += bytes?.length ?? 0;
      if (octets < yieldAt) continue;
      yieldAt = octets + sliceOctets;
      await this.options.clock.sleep(0);
    }
    return { found, blobs };
  }

  /** Serves `readBody`. A damaged body is as good as none. */
  async serve(digest: BodyDigest, offset: number, length: number): Promise<Buffer | undefined> {
    try {
      return await this.options.store.readBody(digest, {
        offset,
        length: Math.min(length, limits.bodyChunkOctets),
      });
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      this.options.log.warn({ digest }, "a body is damaged");
      return undefined;
    }
  }
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
