/**
 * A mail body on its way in: small ones in memory, larger ones in a spool file, never more than
 * the limits say. Each `write` is awaited before the next, so a slow disk slows the client down.
 */
import { createHash, hash, type Hash } from "node:crypto";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { HeaderScan } from "../mime/header-scan.js";
import { hasMessageId } from "../mime/message-id.js";
import type { Body } from "../shared/body.js";
import type { BodyDigest } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { SmtpLimits } from "./limits.js";

export interface BodyContext {
  readonly limits: Pick<
    SmtpLimits,
    "messageOctetsMax" | "headerOctetsMax" | "inlineBodyOctetsMax" | "bodyMemoryOctetsMax"
  >;
  readonly log: Log;
  readonly spoolPath: () => string;
  /** What the bodies of all connections have in memory now. */
  readonly memory: { octets: number };
}

/** Why there is no body: over a limit, disk full, or the disk failed otherwise. */
export type BodyRefusal = "tooLarge" | "headerTooLarge" | "full" | "failed";

type Spool = {
  readonly path: string;
  readonly file: FileHandle;
  readonly hash: Hash;
  readonly hasMessageId: boolean;
};

export class IncomingBody {
  /** What is known of the header by now. */
  readonly header = new HeaderScan();
  readonly #context: BodyContext;
  readonly #inlineOctetsMax: number;
  #octets = 0;
  #memory: Buffer = Buffer.alloc(0);
  #reserved = 0;
  #spool: Spool | undefined;
  #refusal: BodyRefusal | undefined;
  /** The file operation that runs, if any. */
  #busy: Promise<void> | undefined;

  /** `inlineOctetsMax`: kept in memory up to that size, where there is room. */
  constructor(context: BodyContext, inlineOctetsMax = context.limits.inlineBodyOctetsMax) {
    this.#context = context;
    this.#inlineOctetsMax = inlineOctetsMax;
  }

  get octets(): number {
    return this.#octets;
  }

  /** Takes the next octets (and their memory). Wait for the promise, if any, before the next. */
  write(content: Buffer): Promise<void> | undefined {
    const before = this.#octets;
    this.#octets += content.length;
    if (this.#refusal !== undefined) return undefined;
    const { messageOctetsMax, headerOctetsMax } = this.#context.limits;
    if (this.#octets > messageOctetsMax) return this.#refuse("tooLarge");
    if (!this.header.ended) this.header.feed(content);
    if (this.header.octets > headerOctetsMax) return this.#refuse("headerTooLarge");
    if (this.#spool === undefined && this.#keepInMemory(content, before)) return undefined;
    this.#busy = this.#writeSpool(content, before).catch((error: unknown) =>
      this.#refuse(refusalOf(error), error),
    );
    return this.#busy;
  }

  /** The whole body. Its file, if it has one, is closed and belongs to the caller. */
  async finish(): Promise<Body | BodyRefusal> {
    if (this.#refusal !== undefined) return this.#refusal;
    const spool = this.#spool;
    if (spool === undefined) {
      const bytes = this.#memory.subarray(0, this.#octets);
      const digest = hash("sha256", bytes) as BodyDigest;
      return { kind: "bytes", digest, bytes, hasMessageId: hasMessageId(bytes) };
    }
    try {
      await spool.file.close();
    } catch (error) {
      await this.#refuse(refusalOf(error), error);
      return refusalOf(error);
    }
    this.#spool = undefined;
    const digest = spool.hash.digest("hex") as BodyDigest;
    const { path, hasMessageId: identified } = spool;
    return { kind: "file", digest, octets: this.#octets, path, hasMessageId: identified };
  }

  /** Drops what has come. Safe at any time before `finish`; the spool file is gone afterwards. */
  async discard(): Promise<void> {
    this.#refusal ??= "failed";
    await this.#busy;
    await this.#drop();
  }

  /** Gives back the memory that it counts for; call once, when nobody uses the bytes any more. */
  release(): void {
    this.#context.memory.octets -= this.#reserved;
    this.#reserved = 0;
    this.#memory = Buffer.alloc(0);
  }

  #keepInMemory(content: Buffer, before: number): boolean {
    const { limits, memory } = this.#context;
    if (this.#octets > this.#inlineOctetsMax) return false;
    if (before === 0) {
      // The usual mail is one piece: keep it as it is.
      if (memory.octets + content.length > limits.bodyMemoryOctetsMax) return false;
      this.#reserve(content.length);
      this.#memory = content;
      return true;
    }
    if (this.#octets <= this.#memory.length) {
      content.copy(this.#memory, before);
      return true;
    }
    // Doubled, so that a mail sent octet by octet costs neither memory nor time out of proportion.
    const size = Math.min(Math.max(2 * this.#octets, 8_192), this.#inlineOctetsMax);
    if (memory.octets - this.#reserved + size > limits.bodyMemoryOctetsMax) return false;
    const grown = Buffer.allocUnsafeSlow(size);
    this.#memory.copy(grown, 0, 0, before);
    content.copy(grown, before);
    this.#reserve(size);
    this.#memory = grown;
    return true;
  }

  #reserve(octets: number): void {
    this.#context.memory.octets += octets - this.#reserved;
    this.#reserved = octets;
  }

  async #writeSpool(content: Buffer, before: number): Promise<void> {
    if (this.#spool === undefined) {
      const path = this.#context.spoolPath();
      // A fresh name that only we may read; never through a link that somebody put there.
      const file = await open(path, "wx", 0o600);
      const head = before === 0 ? content : this.#memory.subarray(0, before);
      this.#spool = { path, file, hash: createHash("sha256"), hasMessageId: hasMessageId(head) };
      await this.#append(this.#spool, this.#memory.subarray(0, before));
      this.release();
    }
    await this.#append(this.#spool, content);
  }

  async #append({ file, hash: digest }: Spool, octets: Buffer): Promise<void> {
    if (octets.length === 0) return;
    digest.update(octets);
    await file.appendFile(octets);
  }

  async #refuse(refusal: BodyRefusal, error?: unknown): Promise<void> {
    this.#refusal = refusal;
    if (error !== undefined) this.#context.log.error({ err: error }, "can't spool a mail");
    await this.#drop();
  }

  async #drop(): Promise<void> {
    this.release();
    const spool = this.#spool;
    this.#spool = undefined;
    if (spool === undefined) return;
    try {
      await spool.file.close();
    } catch (error) {
      this.#context.log.warn({ err: error, path: spool.path }, "can't close a spool file");
    }
    try {
      await unlink(spool.path);
    } catch (error) {
      this.#context.log.warn({ err: error, path: spool.path }, "can't remove a spool file");
    }
  }
}

function refusalOf(error: unknown): BodyRefusal {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT" ? "full" : "failed";
}
