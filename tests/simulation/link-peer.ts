/** One client on simulated time, disk and mail: it sends, polls, consumes, dies and comes back. */
import { createHash } from "node:crypto";
import { publicKeyText } from "../../src/ebm/index.js";
import { Journal } from "../../src/sdk/journal/journal.js";
import type { JournalFiles } from "../../src/sdk/journal/ports.js";
import { createLink } from "../../src/sdk/link/link.js";
import type { InboundMessage, Link, LinkOptions } from "../../src/sdk/link/ports.js";
import { SimulatedDisk } from "../../src/store/simulated-disk.js";
import type { Book } from "./link-book.js";
import type { SimulatedTime } from "./link-clock.js";
import type { PostOffice } from "./link-post.js";

export interface PeerContext {
  readonly time: SimulatedTime;
  readonly random: () => number;
  readonly post: PostOffice;
  readonly book: Book;
  /** Public keys by `user device epoch`. */
  readonly keys: Map<string, string>;
  readonly newKey: () => string;
  readonly pollMs: number;
  readonly fsyncMaxMs: number;
  readonly options: Partial<LinkOptions>;
  /** Of what is handed out. */
  readonly giveBack: number;
  readonly isPoison: (n: number) => boolean;
  readonly keyUnknown: () => number;
}

const ringUser = "ring@ring.test";
const noLock = { release: () => Promise.resolve() };

export class Peer {
  disk: SimulatedDisk;
  link: Link | undefined;
  /** Counts stores: a wiped one is another. */
  life = 0;
  hasCrashed = false;
  isConsuming = true;
  readonly kept: string[] = [];
  #generation = 0;
  #isCrashing = false;
  #journal: Journal | undefined;

  constructor(
    readonly user: string,
    private readonly context: PeerContext,
  ) {
    this.disk = this.#newDisk();
  }

  #newDisk(): SimulatedDisk {
    const { random, time, fsyncMaxMs } = this.context;
    return new SimulatedDisk(random, (operation) => {
      if (operation !== "sync" || fsyncMaxMs === 0) return Promise.resolve();
      return new Promise((resolve) => void time.after(random() * fsyncMaxMs, resolve));
    });
  }

  get origin(): string {
    const { device, epoch } = this.#journal?.identity ?? { device: "", epoch: 0 };
    return `${this.user} ${device} ${epoch}`;
  }

  async start(): Promise<void> {
    const { time, random, keys, newKey, options, pollMs, post } = this.context;
    const generation = (this.#generation += 1);
    const isOver = () => generation !== this.#generation;
    const dice = (octets: number) =>
      Buffer.from(Array.from({ length: octets }, () => Math.floor(random() * 256)));
    const journal = await Journal.open(
      { directory: `/${this.user}`, user: this.user },
      {
        ...{
          files: filesOf(this.disk, isOver),
          lock: () => Promise.resolve(noLock),
          nowMs: () => time.nowMs(),
        },
        ...{ dice, newKey, compactFromOctets: 24 * 1024 },
      },
    );
    this.#journal = journal;
    keys.set(this.origin, publicKeyText(journal.identity.privateKey));
    this.link = createLink(
      journal,
      {
        ...{
          clock: time,
          dice,
          carrier: { submit: (outgoing) => post.submit(this.user, outgoing) },
        },
        keyVerdict: async ({ from, key }) => {
          if (random() < this.context.keyUnknown()) return "unknown";
          return keys.get(`${from.user} ${from.device} ${from.epoch}`) === key
            ? "theirs"
            : "not theirs";
        },
        ready: () => {
          if (!isOver()) time.after(random() * 20, () => isOver() || this.#consume(generation));
        },
        receipt: ({ id, state }) => {
          if (!isOver() && state === "dead") this.context.book.deadById(id);
        },
        deadLetter: ({ id }) => isOver() || this.context.book.deadById(id),
        failed: () => {
          if (!isOver()) this.#stop();
        },
      },
      { user: this.user, ring: ringUser, pollMs: () => pollMs, ...options },
    );
    time.after(random() * pollMs, () => this.#poll(generation));
  }

  /** Somebody consumes again. */
  wake(): void {
    this.#consume(this.#generation);
  }

  #stop(): void {
    this.#generation += 1;
    this.link?.close();
    this.link = undefined;
  }

  /** Dies at once, or at one of its next steps on disk. */
  async crash(options: {
    afterOperations: number;
    downMs: number;
    power: boolean;
    wipe: boolean;
  }): Promise<void> {
    const { time, book } = this.context;
    if (!this.link || this.#isCrashing) return;
    this.#isCrashing = true;
    this.hasCrashed = true;
    if (options.afterOperations > 0) {
      this.disk.stopAfter(options.afterOperations);
      const deadline = time.nowMs() + 20_000;
      while (this.link && time.nowMs() < deadline) {
        await new Promise<void>((resolve) => void time.after(200, resolve));
      }
    }
    this.#stop();
    if (options.wipe) {
      book.wiped(this.user, this.origin);
      this.life += 1;
      this.disk = this.#newDisk();
    } else if (options.power) this.disk.crash();
    else this.disk.restart();
    await new Promise<void>((resolve) => void time.after(options.downMs, resolve));
    await this.start();
    this.#isCrashing = false;
  }

  async send(to: string, stream: string, octets: number, ttlMs?: number): Promise<void> {
    const { book, random, time } = this.context;
    const { link, origin } = this;
    if (!link) return;
    const body = Buffer.alloc(octets);
    for (let at = 0; at < octets; at += 1 + Math.floor(octets / 200))
      body[at] = Math.floor(random() * 256);
    const n = book.attempt({
      ...{ from: this.user, origin, to, stream, octets, digest: digestOf(body) },
    });
    try {
      const { id, sequence } = await link.send({
        ...{ to, stream, body },
        properties: {
          headers: { n },
          ...(ttlMs !== undefined && { expiresAtMs: time.nowMs() + ttlMs }),
        },
      });
      book.promised(n, id, sequence);
    } catch {
      book.excused.add(n);
    }
  }

  #poll(generation: number): void {
    if (generation !== this.#generation) return;
    const { time, pollMs } = this.context;
    void this.#pollOnce(generation).then(() => time.after(pollMs, () => this.#poll(generation)));
  }

  async #pollOnce(generation: number): Promise<void> {
    const { post } = this.context;
    const drop = post.dropOf(this.user);
    for (const mail of [...drop.values()]) {
      const { link } = this;
      if (!link || generation !== this.#generation) return;
      try {
        const received = await link.receive(mail.octets, mail.id);
        if (received.kind === "keep") this.kept.push(received.why);
        else {
          if (received.kind === "dead") this.context.book.violate("refused", received.why);
          if (received.kind === "foreign") this.context.book.strangers += 1;
          drop.delete(mail.id);
        }
      } catch {
        return; // The disk has died.
      }
    }
    if (generation === this.#generation) this.link?.polled();
  }

  #consume(generation: number): void {
    const { link } = this;
    if (!link || !this.isConsuming || generation !== this.#generation) return;
    for (const message of link.take(4)) {
      const n = Number(message.properties.headers?.["n"]);
      this.context.book.handed(this.user, this.life, { n, sequence: message.sequence });
      void this.#work(generation, link, message, n);
    }
  }

  async #work(generation: number, link: Link, message: InboundMessage, n: number) {
    const { time, random, book, giveBack, isPoison } = this.context;
    try {
      const body = await message.body();
      if (generation !== this.#generation) return;
      book.read(n, digestOf(body));
      await new Promise<void>((resolve) => void time.after(random() * 300, resolve));
      if (generation !== this.#generation) return;
      if (isPoison(n) || random() < giveBack) return link.giveBack(message, random() * 2_000);
      // It has had its effect; whether that is remembered is what is awaited.
      book.consumed.add(n);
      const { life } = this;
      await link.consume(message);
      // Durable, also when the process has died in the same moment; not in a store that was lost in that moment.
      if (life === this.life) book.acknowledged(n);
    } catch {
      // The disk has died: it comes again.
    }
  }
}

/** What a dead process had still in mind to do is not done to the disk of the next one. */
function filesOf(disk: SimulatedDisk, isOver: () => boolean): JournalFiles {
  const alive = (): SimulatedDisk => {
    if (isOver()) throw Object.assign(new Error("a dead process"), { code: "EIO" });
    return disk;
  };
  return {
    open: (path, mode) => alive().open(path, mode),
    exists: (path) => alive().exists(path),
    rename: async (from, to) => alive().rename(from, to),
    unlink: async (path) => alive().unlink(path),
    list: async (directory) => alive().list(directory),
    mkdir: async (directory) => alive().mkdir(directory),
    syncDirectory: async (directory) => alive().syncDirectory(directory),
  };
}

const digestOf = (body: Buffer): string => createHash("sha256").update(body).digest("hex");
