/**
 * A client's store: one append-only file, and files for large bodies. A record is applied when it
 * is appended; what may be said to others only when it is durable waits for the promise.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { takeLock } from "../../shared/lock.js";
import { nodeDisk } from "../../shared/node-disk.js";
import { RingpostError } from "../errors.js";
import { Log, writeFully } from "./log.js";
import { memoryFiles } from "./memory-files.js";
import type { ClientJournal, Identity, JournalFiles, OpenJournalOptions, Values } from "./ports.js";
import { decodeRecord, encodeRecord, type JournalRecord } from "./records.js";
import { snapshot } from "./snapshot.js";
import type { Content } from "./content.js";
import { type IdentityRecord, JournalState } from "./state.js";

/** Bodies beyond it are in files of their own. */
export const inlineOctetsMax = 256 * 1024;
const valueOctetsMax = 1024 * 1024;
const compactFromOctets = 4 * 1024 * 1024;

/** What `openJournal` takes from the system, and a simulation stands in for. */
export interface JournalPorts {
  readonly files: JournalFiles;
  /** Takes the directory for this process. */
  readonly lock: (directory: string) => Promise<{ release(): Promise<void> }>;
  readonly nowMs: () => number;
  readonly dice: (octets: number) => Buffer;
  /** PKCS #8 of a new Ed25519 key, base64. */
  readonly newKey: () => string;
  readonly compactFromOctets?: number;
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  return privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
}

const system = { nowMs: Date.now, dice: randomBytes, newKey };
const onDisk: JournalPorts = {
  ...system,
  files: nodeDisk,
  lock: (directory) => takeLock(directory, `${directory}/lock`),
};
const noLock = { release: () => Promise.resolve() };
const inMemory = (): JournalPorts => ({
  ...system,
  files: memoryFiles(),
  lock: () => Promise.resolve(noLock),
});

/** @throws RingpostError `store`: locked by another process, another user's, or damaged */
export function openJournal({ directory, user }: OpenJournalOptions): Promise<Journal> {
  return directory === undefined
    ? Journal.open({ directory: "/memory", user }, inMemory())
    : Journal.open({ directory, user }, onDisk);
}

export class Journal implements ClientJournal {
  readonly state: JournalState;
  readonly #released = new Set<string>();
  #log: Log | undefined;
  #identity: Identity | undefined;
  #isReplaying = true;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;
  readonly #listeners = new Set<(error: Error) => void>();

  private constructor(
    private readonly directory: string,
    private readonly ports: JournalPorts,
    private readonly lock: { release(): Promise<void> },
  ) {
    this.state = new JournalState((file) => {
      if (!this.#isReplaying) this.#released.add(file);
    });
  }

  static async open(
    { directory, user }: Required<OpenJournalOptions>,
    ports: JournalPorts,
  ): Promise<Journal> {
    const storeError = (cause: unknown): RingpostError => {
      const why = cause instanceof Error ? cause.message : String(cause);
      return new RingpostError("store", why, false, { cause });
    };
    const { files } = ports;
    const lock = await (async () => {
      if (await files.mkdir(directory)) await files.syncDirectory(dirname(directory));
      return ports.lock(directory);
    })().catch((error: unknown) => {
      throw storeError(error);
    });
    const journal = new Journal(directory, ports, lock);
    try {
      await journal.#open(user);
      return journal;
    } catch (error) {
      await lock.release();
      throw storeError(error);
    }
  }

  async #open(user: string): Promise<void> {
    const { directory, ports, state } = this;
    if (await ports.files.mkdir(this.#spool)) await ports.files.syncDirectory(directory);
    this.#log = await Log.open(
      {
        ...{ files: ports.files, directory, salt: () => ports.dice(4).readUInt32BE(0) },
        snapshot: () => snapshot(state),
        compactFromOctets: ports.compactFromOctets ?? compactFromOctets,
        onFailure: (error) => this.#fail(error),
      },
      (content) => {
        const { record, body } = decodeRecord(content);
        state.apply(record, body);
      },
    );
    this.#isReplaying = false;
    await this.#dropOrphans();
    const identity = state.identity ?? (await this.#makeIdentity(user));
    if (identity.user !== user) {
      throw new Error(`the store ${directory} belongs to ${identity.user}; give ${user} its own`);
    }
    this.#identity = {
      device: identity.device,
      epoch: identity.epoch,
      privateKey: createPrivateKey({
        ...{ key: Buffer.from(identity.privateKey, "base64"), format: "der", type: "pkcs8" },
      }),
    };
  }

  async #makeIdentity(user: string): Promise<IdentityRecord> {
    const record: IdentityRecord = {
      ...{ kind: "identity", user, device: this.ports.dice(12).toString("base64url") },
      ...{ epoch: this.ports.nowMs(), privateKey: this.ports.newKey() },
    };
    await this.write(record);
    return record;
  }

  async #dropOrphans(): Promise<void> {
    const needed = new Set(this.state.files());
    for (const name of await this.ports.files.list(this.#spool)) {
      if (!needed.has(name)) await this.#unlink(name);
    }
  }

  get #spool(): string {
    return `${this.directory}/spool`;
  }

  get identity(): Identity {
    if (!this.#identity) throw new Error("the journal is not open");
    return this.#identity;
  }

  /** Told once, when nothing can be made durable any more. Answers how to stop listening. */
  onFailure(listener: (error: Error) => void): () => void {
    if (this.#failure) listener(this.#failure);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const listener of this.#listeners) listener(error);
  }

  /** Applied when it returns, durable when it resolves. @throws RingpostError `store` */
  async write(record: JournalRecord, body?: Buffer): Promise<void> {
    if (!this.#log) throw new RingpostError("store", "the journal is not open", false);
    if (this.#failure) throw unwritable(this.#failure);
    this.state.apply(record, body ?? Buffer.alloc(0));
    const released = this.#takeReleased();
    try {
      await this.#log.append(encodeRecord(record, body));
    } catch (error) {
      throw unwritable(error);
    }
    for (const file of released) await this.#unlink(file);
  }

  #takeReleased(): readonly string[] {
    if (this.#released.size === 0) return [];
    const released = [...this.#released];
    this.#released.clear();
    return released;
  }

  /** What need not be waited for; a failure is told by `onFailure`. */
  note(record: JournalRecord, body?: Buffer): void {
    this.write(record, body).catch(() => undefined);
  }

  async #unlink(file: string): Promise<void> {
    for (const { content } of this.state.letters.values()) {
      if ("file" in content && content.file === file) return;
    }
    try {
      await this.ports.files.unlink(`${this.#spool}/${file}`);
    } catch {
      // It is gone, or is swept at the next start.
    }
  }

  /** Durable octets at a place of a file, made if it is not there. @throws RingpostError `store` */
  async spool(file: string, octets: Buffer, position: number): Promise<void> {
    const { files } = this.ports;
    const path = `${this.#spool}/${file}`;
    try {
      const isNew = !files.exists(path);
      const handle = files.open(path, isNew ? "create" : "write");
      try {
        await writeFully(handle, [octets], position);
        await handle.sync();
      } finally {
        handle.close();
      }
      // Also when another write made it: that one may not have come so far.
      await files.syncDirectory(this.#spool);
    } catch (error) {
      throw unwritable(error);
    }
  }

  /** @throws RingpostError `store` */
  async read(content: Content, from: number, to: number): Promise<Buffer> {
    if ("octets" in content) return content.octets.subarray(from, to);
    const into = Buffer.allocUnsafe(to - from);
    try {
      const handle = this.ports.files.open(`${this.#spool}/${content.file}`, "read");
      try {
        for (let done = 0; done < into.length; ) {
          const got = await handle.read(into.subarray(done), from + done);
          if (got === 0) throw new Error(`${content.file} is too short`);
          done += got;
        }
      } finally {
        handle.close();
      }
    } catch (error) {
      throw new RingpostError("store", `a body can't be read: ${String(error)}`, false, {
        cause: error,
      });
    }
    return into;
  }

  /** @throws RingpostError `store` */
  async readAll(content: Content): Promise<Buffer> {
    if ("octets" in content) return content.octets;
    const handle = this.ports.files.open(`${this.#spool}/${content.file}`, "read");
    const size = handle.size();
    handle.close();
    return this.read(content, 0, size);
  }

  readonly values: Values = {
    get: (key) => this.state.values.get(key),
    keys: (prefix) => [...this.state.values.keys()].filter((key) => key.startsWith(prefix)),
    set: async (key, value) => {
      if (JSON.stringify(value ?? null).length > valueOctetsMax) {
        throw new RingpostError("store", `${key} is larger than a value may be`, false);
      }
      await this.write({ kind: "value", key, value });
    },
  };

  /** Once, however often: a file that is closed twice may be somebody else's by then. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#log?.close();
    this.#failure ??= new Error("the journal is closed");
    await this.lock.release();
  }
}

const unwritable = (cause: unknown): RingpostError =>
  new RingpostError("store", `the journal can't be written: ${String(cause)}`, false, { cause });
