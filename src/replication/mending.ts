/**
 * What an operator sets going: making a copy whole now, checking every body of it, and finding
 * what was deleted.
 */
import { createHash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { BodyCorruptError } from "../shared/store-errors.js";
import type { Bodies } from "./bodies.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Membership } from "./membership.js";
import type { Mended, Recalled, RequestOf } from "./peer-methods.js";
import type { Clock, Store } from "./ports.js";
import type { Puller } from "./pull.js";
import { type Member, memberByUuid } from "./roster.js";

interface MendingOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly heartbeat: Heartbeat;
  readonly store: Store;
  readonly bodies: Bodies;
  readonly puller: Puller;
  readonly clock: Clock;
  readonly log: Log;
}

/** One answer takes no longer than about this, and checks no more than so many octets. */
const copyMsMax = 8_000;
const checkedOctetsMax = 16 * 1024 * 1024;
const checkedMessagesMax = 1_000;

export class Mending {
  constructor(private readonly options: MendingOptions) {}

  /** Serves `mend`. */
  async mend(request: RequestOf<"mend">): Promise<{ kind: "mended" } & Mended> {
    const { mailbox, after = "" } = request;
    const sources = this.sourcesFor(mailbox, request.source);
    const copied =
      after === "" ? await this.copy(mailbox, sources) : { messages: 0, tombstones: 0, all: true };
    const { messages, tombstones } = copied;
    const none = { sound: 0, healed: 0, unhealed: [] };
    if (!copied.all) return { kind: "mended", messages, tombstones, ...none, next: "" };
    const checked = await this.check(mailbox, after, this.sourcesFor(mailbox));
    return { kind: "mended", messages, tombstones, ...checked };
  }

  private sourcesFor(mailbox: MailboxName, only?: MemberUuid): readonly Member[] {
    const { groups, membership, heartbeat } = this.options;
    const self = membership.self.uuid;
    const named = only === undefined ? undefined : memberByUuid(membership.roster, only);
    const members = named && named.uuid !== self ? [named] : groups.placementOf(mailbox).everyone;
    return members.filter(({ uuid }) => uuid !== self && !heartbeat.isQuiet(uuid));
  }

  /** What the sources have and this node lacks. Not `all` when it takes too long for one answer. */
  private async copy(
    mailbox: MailboxName,
    sources: readonly Member[],
  ): Promise<{ messages: number; tombstones: number; all: boolean }> {
    const { puller, clock } = this.options;
    const late = new AbortController();
    const done = new AbortController();
    clock.sleep(copyMsMax, done.signal).then(
      () => late.abort(),
      () => undefined,
    );
    let [messages, tombstones] = [0, 0];
    const onArrived = (count: number): void => {
      messages += count;
    };
    try {
      for (const member of sources) {
        const pulled = await puller.pull(mailbox, member, { signal: late.signal, onArrived });
        tombstones += pulled.tombstones;
      }
      return { messages, tombstones, all: true };
    } catch (error) {
      if (!late.signal.aborted) throw error;
      return { messages, tombstones, all: false };
    } finally {
      done.abort();
    }
  }

  private async check(
    mailbox: MailboxName,
    after: MessageId | "",
    sources: readonly Member[],
  ): Promise<Pick<Mended, "sound" | "healed" | "unhealed" | "next">> {
    const { clock } = this.options;
    const { messages } = await this.options.store.contents(mailbox);
    const rest = messages.filter(({ id }) => id > after);
    let [octets, sound, healed, done] = [0, 0, 0, 0];
    const unhealed: MessageId[] = [];
    for (const message of rest) {
      if (octets >= checkedOctetsMax || done >= checkedMessagesMax) break;
      if (await this.isSound(message)) sound += 1;
      else if (await this.heal(message, sources)) healed += 1;
      else unhealed.push(message.id);
      octets += message.bodyOctets;
      done += 1;
      // Clients' work is not held up by a long run of reads.
      if (done % 32 === 0) await clock.sleep(0);
    }
    const last = rest[done - 1];
    return { sound, healed, unhealed, ...(last && done < rest.length && { next: last.id }) };
  }

  private async isSound({ digest, bodyOctets }: StoredMessage): Promise<boolean> {
    const { store } = this.options;
    try {
      if (bodyOctets <= limits.inlineBodyOctetsMax) {
        return (await store.readBody(digest)) !== undefined;
      }
      if ((await this.digestOf(digest, bodyOctets)) === digest) return true;
      // Read as a whole, the store notices, too, and takes a sound one in its place.
      await store.readBody(digest);
      return false;
    } catch (error) {
      if (!(error instanceof BodyCorruptError)) throw error;
      return false;
    }
  }

  /** Of a large body, piece by piece. */
  private async digestOf(digest: BodyDigest, octets: number): Promise<string> {
    const hash = createHash("sha256");
    const into = Buffer.allocUnsafe(limits.bodyChunkOctets);
    for (let offset = 0; offset < octets; ) {
      const length = Math.min(limits.bodyChunkOctets, octets - offset);
      const chunk = await this.options.store.readBody(digest, { offset, length, into });
      if (!chunk || chunk.length === 0) break;
      hash.update(chunk);
      offset += chunk.length;
    }
    return hash.digest("hex");
  }

  private async heal(message: StoredMessage, sources: readonly Member[]): Promise<boolean> {
    const { bodies, store, log } = this.options;
    const { digest, bodyOctets } = message;
    for (const member of sources) {
      let body: Body | undefined;
      try {
        body = await bodies.fetch(member, digest, bodyOctets);
      } catch (error) {
        log.debug({ digest, from: member.addr, error: String(error) }, "a body was not had");
      }
      if (!body) continue;
      await store.write([], [body]);
      log.info({ digest, from: member.addr }, "a body was healed from a replica");
      return true;
    }
    return false;
  }

  /** Serves `recall`. */
  async recall(id: MessageId): Promise<{ kind: "unknown" } | ({ kind: "found" } & Recalled)> {
    const { store } = this.options;
    const found = await store.journaled(id);
    if (!found) return { kind: "unknown" };
    const hasBody = await this.isSound(found.message);
    return { kind: "found", ...found, hasBody };
  }
}
