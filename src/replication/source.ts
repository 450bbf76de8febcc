/** What others copy from this member: the other end of `pull.ts`. */
import type { MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import type { Floors } from "./floors.js";
import type { ReplyOf, RequestOf } from "./peer-methods.js";
import type { Store } from "./ports.js";
import { fetchBodyOctetsMax } from "./pull.js";
import type { Retries, Unsettled } from "./retries.js";

export interface SourceOptions {
  readonly store: Store;
  readonly retries: Retries;
  readonly floors: Floors;
  readonly log: Log;
}

export class Source {
  constructor(private readonly options: SourceOptions) {}

  async listing({ mailbox, after }: RequestOf<"listing">): Promise<ReplyOf<"listing">> {
    const { messages, tombstones, floor, summary } = await this.options.store.contents(mailbox);
    const ids = [...messages, ...tombstones].map(({ id }) => id).filter((id) => id > after);
    const more = ids.length > limits.pageEntriesMax;
    if (ids.length > 1) ids.sort();
    const last = more ? ids[limits.pageEntriesMax - 1] : ids.at(-1);
    const isOnPage = ({ id }: { id: MessageId }): boolean =>
      id > after && last !== undefined && id <= last;
    const live = messages.filter(isOnPage).map(({ id }) => id);
    const removed = tombstones.filter(isOnPage);
    const unsettled = removed.flatMap(({ id }) => this.options.retries.unsettled(id) ?? []);
    const height = floor && { below: floor.below, ...(after === "" && { floor }) };
    // Not before the list was made: what came behind the barrier's back would count as known.
    return {
      live,
      removed,
      more,
      unsettled,
      ...height,
      digest: summary.digest,
      barrier: this.options.floors.barrier(mailbox),
    };
  }

  async fetch(request: RequestOf<"fetch">): Promise<ReplyOf<"fetch">> {
    const contents = await this.options.store.contents(request.mailbox);
    const ids = new Set(request.ids.slice(0, limits.pageEntriesMax));
    const wanted = contents.messages.filter((message) => ids.has(message.id));
    if (!request.withBodies) {
      const bodies = wanted.map(() => "omitted" as const);
      return { messages: wanted, bodies, unsettled: this.unsettledOf(wanted) };
    }
    const messages: (typeof wanted)[number][] = [];
    const bodies: ReplyOf<"fetch">["bodies"][number][] = [];
    const blobs: Buffer[] = [];
    let octets = 0;
    for (const message of wanted) {
      if (octets >= fetchBodyOctetsMax) break;
      messages.push(message);
      if (message.bodyOctets > limits.inlineBodyOctetsMax) {
        bodies.push("large");
        continue;
      }
      const bytes = await this.bodyOf(message.digest);
      bodies.push(bytes ? "blob" : "missing");
      if (bytes) blobs.push(bytes);
      octets += bytes?.length ?? 0;
    }
    return { messages, bodies, unsettled: this.unsettledOf(messages), blobs };
  }

  private unsettledOf(messages: readonly StoredMessage[]): readonly Unsettled[] {
    return messages.flatMap(({ id }) => this.options.retries.unsettled(id) ?? []);
  }

  private async bodyOf(digest: Parameters<Store["readBody"]>[0]): Promise<Buffer | undefined> {
    try {
      return await this.options.store.readBody(digest);
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      this.options.log.warn({ digest }, "a body is damaged");
      return undefined;
    }
  }
}
