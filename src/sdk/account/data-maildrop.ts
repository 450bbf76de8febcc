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

  constructor(options: DataMaildropOptions) {
    this.#options = options;
  }

  /** Somebody has room for what was pushed of a queue. */
  lookAgain(queue: string): void {
    for (const left of this.#left.values()) if (left.queue === queue) left.againAtMs = 0;
  }

  /** One session's work. True when there was something for us. */
  async collect(client: Pop3Client): Promise<boolean> {
    const listed = await client.list();
    if (listed.length === 0) return false;
    const uids = await client.uidl();
    const nowMs = this.#options.nowMs();
    const uidOf = (number: number): string => uids[number - 1] ?? "";
    let wanted = listed.filter(([n]) => (this.#left.get(uidOf(n))?.againAtMs ?? 0) <= nowMs);
    if (this.#options.isShared) wanted = await this.#ours(client, wanted, uidOf);
    let found = false;
    for (const batch of batchesOf(wanted)) {
      const mails = await client.retrMany(batch);
      const taken = await Promise.all(
        batch.map((n, index) => this.#take(mails[index] ?? Buffer.alloc(0), uidOf(n))),
      );
      const done = batch.filter((_, index) => taken[index]);
      found ||= done.length > 0;
      await client.deleMany(done);
    }
    return found;
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
        this.#left.delete(uid);
        return true;
      case "configuration":
      case "entry":
        if (await this.#options.handle(received)) {
          this.#left.delete(uid);
          return true;
        }
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

  #leave(uid: string, forMs?: number, queue?: string): void {
    const before = this.#left.get(uid);
    const waitMs = forMs ?? Math.min((before?.waitMs ?? keepMs.first / 2) * 2, keepMs.max);
    if (this.#left.size >= rememberedMax) this.#left.clear();
    const againAtMs = this.#options.nowMs() + waitMs;
    this.#left.set(uid, { waitMs, againAtMs, ...(queue !== undefined && { queue }) });
  }
}
