import { hash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { MailboxName } from "../shared/ids.js";
import type { Operation } from "../shared/operation.js";
import { StoreFailedError, StoreFullError } from "../shared/store-errors.js";
import { type Disk, isFull, unlinkIfThere, writeFully } from "../shared/disk.js";
import type { AppendOutcome, Journal } from "./journal.js";
import { bodyPath, type Layout } from "./layout.js";
import type { StoreLimits } from "./options.js";
import { type FileBody, type InlineBody, type Part, split } from "./record-parts.js";
import type { JournaledOperation } from "./journaled-operation.js";
import { encodeRecord, type RecordHeader } from "./record.js";
import { bodyLocations, type State } from "./state.js";

/** A write whose large bodies are being moved into place; it is not in the journal's queue yet. */
interface Staged {
  readonly mailboxes: ReadonlySet<MailboxName>;
  readonly done: Promise<void>;
}

export interface WriterOptions {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly limits: StoreLimits;
  readonly salt: number;
  readonly journal: Journal;
  readonly state: State;
  readonly spoolPath: () => string;
  readonly onWritten: (octets: number) => void;
}

/** Turns writes into records, and durable records into state. */
export class Writer {
  readonly #outstanding = new Set<Promise<void>>();
  readonly #staged = new Set<Staged>();
  /** Bodies on the way to the disk, with how many records bring them. */
  readonly #flyingBodies = new Map<string, number>();
  /** Bodies whose files are being moved into place. */
  readonly #reserved = new Map<string, number>();
  /** One at a time moves or deletes the file of a body. */
  readonly #fileTurns = new Map<string, Promise<void>>();

  constructor(private readonly options: WriterOptions) {}

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** See `Store.write`. What can be seen at once is seen when this returns. */
  write(operations: readonly Operation[], bodies: readonly Body[]): Promise<void> {
    const written = this.#write(operations, bodies);
    this.#outstanding.add(written);
    const forget = () => this.#outstanding.delete(written);
    written.then(forget, forget);
    return written;
  }

  /** See `Store.durable`. */
  async durable(): Promise<void> {
    if (this.options.journal.failure !== undefined) throw this.options.journal.failure;
    // All of them, also when one is refused: what is there after this is on disk.
    const outcomes = await Promise.allSettled(this.#outstanding);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") throwStoreError(outcome.reason);
    }
  }

  /** Resolves when all writes up to now are settled, either way. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#outstanding, ...[...this.#staged].map((s) => s.done)]);
  }

  isStaged(mailbox: MailboxName): boolean {
    for (const staged of this.#staged) if (staged.mailboxes.has(mailbox)) return true;
    return false;
  }

  /** A record that brings the body is being written, or will be. */
  isFlying(digest: string): boolean {
    return this.#flyingBodies.has(digest) || this.#reserved.has(digest);
  }

  async #write(operations: readonly Operation[], bodies: readonly Body[]): Promise<void> {
    const inlineMax = this.options.limits.inlineBodyOctetsMax;
    const isInline = (body: Body): body is InlineBody =>
      body.kind === "bytes" && body.bytes.length <= inlineMax;
    this.#refuseWhenUnable();
    if (bodies.every(isInline)) {
      await this.#enqueue({ operations, bodies, files: [] });
    } else {
      const isValue = ({ kind }: Operation) => kind === "PutRegister" || kind === "PutLocal";
      // Values are to be seen at once, so they do not wait for the files.
      const values = operations.filter(isValue);
      const rest = operations.filter((operation) => !isValue(operation));
      await Promise.all([
        this.#stage(rest, bodies, isInline),
        values.length > 0 && this.#enqueue({ operations: values, bodies: [], files: [] }),
      ]);
    }
    if (this.options.state.mailboxes.isCrowded) await this.options.state.mailboxes.room();
  }

  #refuseWhenUnable(): void {
    const { journal, state } = this.options;
    if (journal.failure !== undefined) throw journal.failure;
    const { isCrowded, trouble } = state.mailboxes;
    if (isCrowded && trouble !== undefined) {
      throw new StoreFullError("too much waits for views that cannot be written", {
        cause: trouble,
      });
    }
  }

  async #stage(
    operations: readonly Operation[],
    bodies: readonly Body[],
    isInline: (body: Body) => body is InlineBody,
  ): Promise<void> {
    const mailboxes = new Set(
      operations.flatMap((operation) => ("mailbox" in operation ? [operation.mailbox] : [])),
    );
    const done = this.#writeStaged(operations, bodies, isInline);
    const staged = { mailboxes, done };
    this.#staged.add(staged);
    try {
      await done;
    } finally {
      this.#staged.delete(staged);
    }
  }

  async #writeStaged(
    operations: readonly Operation[],
    bodies: readonly Body[],
    isInline: (body: Body) => body is InlineBody,
  ): Promise<void> {
    const files: FileBody[] = [];
    try {
      for (const body of bodies) {
        if (isInline(body)) continue;
        const file = body.kind === "file" ? body : await this.#spill(body);
        files.push(file);
        this.#reserve(file.digest, 1);
      }
      const taken: FileBody[] = [];
      for (const file of files) if (await this.#place(file)) taken.push(file);
      await this.#enqueue({ operations, bodies: bodies.filter(isInline), files: taken });
    } catch (error) {
      await this.#discard(files);
      throw isFull(error) ? new StoreFullError("no space for a body", { cause: error }) : error;
    } finally {
      for (const { digest } of files) this.#reserve(digest, -1);
    }
  }

  #reserve(digest: string, change: 1 | -1): void {
    const count = (this.#reserved.get(digest) ?? 0) + change;
    if (count === 0) this.#reserved.delete(digest);
    else this.#reserved.set(digest, count);
  }

  /** A large body that came in memory goes the way of those that came in a file. */
  async #spill(body: InlineBody): Promise<FileBody> {
    const { disk } = this.options;
    checkDigest(body);
    const path = this.options.spoolPath();
    const file = disk.open(path, "create");
    try {
      await writeFully(file, [body.bytes], 0);
    } catch (error) {
      await unlinkIfThere(disk, path);
      throw error;
    } finally {
      file.close();
    }
    return { kind: "file", digest: body.digest, octets: body.bytes.length, path };
  }

  /** Moves a body's file into place, unless the node has the body: then false. */
  async #place(file: FileBody): Promise<boolean> {
    const { disk, journal, state } = this.options;
    let taken = false;
    await this.inFileTurn(file.digest, async () => {
      if (state.bodies.has(file.digest)) return unlinkIfThere(disk, file.path);
      await state.bodies.takeFile(file, (error) => journal.fail(error));
      taken = true;
    });
    return taken;
  }

  /** After a refusal: neither the spool nor `bodies/` keeps what no record names. */
  async #discard(files: readonly FileBody[]): Promise<void> {
    for (const { digest, path } of files) {
      this.#reserve(digest, -1);
      await this.inFileTurn(digest, async () => {
        await unlinkIfThere(this.options.disk, path);
        await this.unlinkUnknown(digest);
      });
      this.#reserve(digest, 1);
    }
  }

  /** Deletes the file of a body that no record names or will name. Within the body's turn. */
  async unlinkUnknown(digest: string): Promise<void> {
    const { disk, layout, state } = this.options;
    if (this.isFlying(digest) || state.bodies.locate(digest) !== undefined) return;
    await unlinkIfThere(disk, bodyPath(layout, digest));
  }

  async inFileTurn(digest: string, task: () => Promise<void>): Promise<void> {
    const turn = (this.#fileTurns.get(digest) ?? Promise.resolve()).then(task);
    const quiet = turn.catch(() => undefined);
    this.#fileTurns.set(digest, quiet);
    try {
      await turn;
    } finally {
      if (this.#fileTurns.get(digest) === quiet) this.#fileTurns.delete(digest);
    }
  }

  #enqueue(whole: Part): Promise<void> {
    this.#checkBodies(whole);
    const fresh = whole.bodies.filter((body) => !this.#isKnown(body.digest));
    for (const body of fresh) checkDigest(body);
    const appended = split({ ...whole, bodies: fresh }).map((part) => this.#append(part));
    return appended.length === 1 && appended[0] !== undefined
      ? appended[0]
      : Promise.all(appended).then(() => undefined);
  }

  #isKnown(digest: string): boolean {
    // Asked first in any case: a compaction has to hear of it.
    return this.options.state.bodies.has(digest) || this.#flyingBodies.has(digest);
  }

  #checkBodies({ operations, bodies, files }: Part): void {
    for (const operation of operations) {
      if (operation.kind !== "AddMessage") continue;
      const { digest } = operation.message;
      const brings = (body: Body) => body.digest === digest;
      if (bodies.some(brings) || files.some(brings) || this.#isKnown(digest)) continue;
      throw new Error(`AddMessage refers to body ${digest}, which the store does not have`);
    }
  }

  #append(part: Part): Promise<void> {
    const operations = part.operations.map((operation) => this.options.state.begin(operation));
    return this.#appendRecord(
      operations,
      part.bodies.map(({ digest, bytes }) => [digest, bytes] as const),
      part.files.map(({ digest, octets }) => [digest, octets] as const),
      (operation, segment, octets) => {
        this.options.state.settle(operation, segment, octets);
      },
      (operation) => {
        this.options.state.refuse(operation);
      },
    );
  }

  /** Appends what is copied out of an old segment: it is durable and known already. */
  appendCopy(
    operations: readonly JournaledOperation[],
    bodies: readonly (readonly [digest: string, bytes: Buffer])[],
    files: readonly (readonly [digest: string, octets: number])[],
  ): Promise<void> {
    const settle = (operation: JournaledOperation, segment: number, octets: number) => {
      const isValue = operation.kind === "PutRegister" || operation.kind === "PutLocal";
      if (isValue) this.options.state.replay(operation, segment, octets);
    };
    return this.#appendRecord(operations, bodies, files, settle, () => undefined, true);
  }

  #appendRecord(
    operations: readonly JournaledOperation[],
    bodies: readonly (readonly [digest: string, bytes: Buffer])[],
    files: readonly (readonly [digest: string, octets: number])[],
    settle: (operation: JournaledOperation, segment: number, octets: number) => void,
    refuse: (operation: JournaledOperation) => void,
    copied = false,
  ): Promise<void> {
    const header: RecordHeader = {
      operations,
      bodies: bodies.map(([digest, bytes]) => [digest, bytes.length] as const),
      files,
      ...(copied && { copied }),
    };
    const record = encodeRecord(
      header,
      bodies.map(([, bytes]) => bytes),
      this.options.salt,
    );
    this.#countFlying(header, 1);
    const share = Math.ceil((record.buffers[0]?.length ?? 0) / Math.max(1, operations.length));
    return new Promise((resolve, reject) => {
      this.options.journal.append(record, (outcome: AppendOutcome) => {
        this.#countFlying(header, -1);
        if (outcome.kind === "refused") {
          for (const operation of operations) refuse(operation);
          reject(outcome.error);
          return;
        }
        for (const [digest, location] of bodyLocations(
          header,
          outcome.position,
          record.bodyOffset,
        )) {
          this.options.state.bodies.add(digest, location);
        }
        for (const operation of operations) settle(operation, outcome.position.segment, share);
        this.options.onWritten(record.octets);
        resolve();
      });
    });
  }

  #countFlying(
    header: {
      readonly bodies: readonly (readonly [string, number])[];
      readonly files: readonly (readonly [string, number])[];
    },
    change: 1 | -1,
  ): void {
    for (const list of [header.bodies, header.files]) {
      for (const [digest] of list) {
        const count = (this.#flyingBodies.get(digest) ?? 0) + change;
        if (count === 0) this.#flyingBodies.delete(digest);
        else this.#flyingBodies.set(digest, count);
      }
    }
  }
}

/** A write that was refused as a bug has changed nothing and concerns its caller only. */
function throwStoreError(error: unknown): void {
  if (error instanceof StoreFullError || error instanceof StoreFailedError) throw error;
}

function checkDigest({ digest, bytes }: InlineBody): void {
  if (hash("sha256", bytes, "hex") !== digest) {
    throw new Error(`the body given as ${digest} does not have that SHA-256`);
  }
}
