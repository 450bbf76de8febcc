/** The maildrop that peers send to: what is ours goes to the link, ordinary mail stays where it is. */
import type { Pop3Client } from "../../client/pop3-client.js";
import { findIndex } from "../../ebm/index.js";
import { batchesOf } from "../consume/batches.js";
import { headerField } from "../header-field.js";
import { mayBeBounce } from "../link/bounces.js";
import type { Received } from "../link/ports.js";

export interface DataMaildropOptions {
  /** The maildrop holds people's mail too: only what has an index in its Subject, and bounces, are fetched. */
  readonly isShared: boolean;
  readonly receive: (mail: Buffer, uid: string) => Promise<Received>;
  /** What the link leaves to the client. True: DELE. */
  readonly handle: (
    received: Extract<Received, { kind: "configuration" | "entry" }>,
  ) => Promise<boolean>;
  /** What was received may be acknowledged now, also when the session broke off after it. */
  readonly polled: () => void;
  readonly nowMs: () => number;
}

/** What can't be taken now is looked at again so late, and later each time. */
const keepMs = { first: 2_000, max: 300_000 } as const;
const rememberedMax = 50_000;
const looksAtOnce = 100;

interface Left {
  againAtMs: number;
  waitMs: number;
  /** It has entries of this queue, for which nobody had room. */
  readonly queue?: string;
}

export class DataMaildrop {
  readonly #options: DataMaildropOptions;
  /** By unique-id: mails that stay, and when to look at them again. */
  readonly #left = new Map<string, Left>();
  /** By unique-id: taken, and perhaps still there, since a session that breaks off deletes nothing. */
  readonly #taken = new Set<string>();

  constructor(options: DataMaildropOptions) {
    this.#options = options;
  }

  /** Somebody has room for what was pushed of a queue. */
  lookAgain(queue: string): void {
    for (const left of this.#left.values()) if (left.queue === queue) left.againAtMs = 0;
  }

  /** Somebody consumes what nobody did. */
  lookAgainAtAll(): void {
    for (const left of this.#left.values()) if (left.waitMs < Infinity) left.againAtMs = 0;
  }

  /** One session's work. True when there was something for us. */
  async collect(client: Pop3Client): Promise<boolean> {
    try {
      return await this.#collect(client);
    } finally {
      this.#options.polled();
    }
  }

  async #collect(client: Pop3Client): Promise<boolean> {
    const all = await client.list();
    const uids = all.length === 0 ? [] : await client.uidl();
    const listed = await this.#untaken(client, all, uids);
    const nowMs = this.#options.nowMs();
    const uidOf = (number: number): string => uids[number - 1] ?? "";
    let wanted = listed.filter(([n]) => (this.#left.get(uidOf(n))?.againAtMs ?? 0) <= nowMs);
    if (this.#options.isShared) wanted = await this.#ours(client, wanted, uidOf);
    let found = false;
    for (const batch of batchesOf(wanted)) {
      const taken = await this.#takeBatch(client, batch.map(uidOf), batch);
      const done = batch.filter((_, index) => taken[index]);
      found ||= done.length > 0;
      await client.deleMany(done);
    }
    return found;
  }

  /** What was taken in a session that broke off is only deleted, so that each session gets further than the last. */
  async #untaken(
    client: Pop3Client,
    listed: readonly (readonly [number, number])[],
    uids: readonly string[],
  ): Promise<readonly (readonly [number, number])[]> {
    if (this.#taken.size === 0) return listed;
    const there = new Set(uids);
    for (const uid of this.#taken) if (!there.has(uid)) this.#taken.delete(uid);
    const isTaken = (n: number): boolean => this.#taken.has(uids[n - 1] ?? "");
    await client.deleMany(listed.map(([n]) => n).filter(isTaken));
    return listed.filter(([n]) => !isTaken(n));
  }

  /** In order. When the line is cut, what came whole before is taken first. */
  async #takeBatch(
    client: Pop3Client,
    uids: readonly string[],
    numbers: readonly number[],
  ): Promise<readonly boolean[]> {
    const taking: Promise<boolean>[] = [];
    try {
      for await (const mail of client.retrEach(numbers)) {
        const taken = this.#take(mail, uids[taking.length] ?? "");
        taken.catch(() => undefined);
        taking.push(taken);
      }
    } finally {
      await Promise.allSettled(taking);
    }
    return await Promise.all(taking);
  }

  /** By TOP, since only the Subject is needed to sort. */
  async #ours(
    client: Pop3Client,
    listed: readonly (readonly [number, number])[],
    uidOf: (number: number) => string,
  ): Promise<(readonly [number, number])[]> {
    const ours: (readonly [number, number])[] = [];
    for (let at = 0; at < listed.length; at += looksAtOnce) {
      const some = listed.slice(at, at + looksAtOnce);
      const headers = await client.topMany(some.map(([number]) => number));
      for (const [index, entry] of some.entries()) {
        const header = headers[index] ?? Buffer.alloc(0);
        const type = findIndex(headerField(header, "subject"))?.type;
        // Answers are fetched by who waits for them.
        const isWanted = type === "data" || type === "acknowledgement" || mayBeBounce(header);
        if (isWanted) ours.push(entry);
        else this.#leave(uidOf(entry[0]), Number.POSITIVE_INFINITY);
      }
    }
    return ours;
  }

  async #take(mail: Buffer, uid: string): Promise<boolean> {
    const received = await this.#options.receive(mail, uid);
    switch (received.kind) {
      case "done":
      case "dead":
        return this.#isTaken(uid);
      case "configuration":
      case "entry":
        if (await this.#options.handle(received)) return this.#isTaken(uid);
        this.#leave(uid, undefined, received.kind === "entry" ? received.queue : undefined);
        return false;
      case "foreign":
        this.#leave(uid, Number.POSITIVE_INFINITY);
        return false;
      case "keep":
        this.#leave(uid);
        return false;
    }
  }

  #isTaken(uid: string): true {
    this.#left.delete(uid);
    if (this.#taken.size >= rememberedMax) this.#taken.clear();
    this.#taken.add(uid);
    return true;
  }

  #leave(uid: string, forMs?: number, queue?: string): void {
    const before = this.#left.get(uid);
    const waitMs = forMs ?? Math.min((before?.waitMs ?? keepMs.first / 2) * 2, keepMs.max);
    if (this.#left.size >= rememberedMax) this.#left.clear();
    const againAtMs = this.#options.nowMs() + waitMs;
    this.#left.set(uid, { waitMs, againAtMs, ...(queue !== undefined && { queue }) });
  }
}
