/** Fakes for the unit tests of this folder. */
import type { Address, MailboxName, MemberUuid, MessageId, RingId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import { Liveness } from "./liveness.js";
import type { PeerMethodName } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Clock, Randomness } from "./ports.js";
import type { Member, Roster } from "./roster.js";

export const quietLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const memberOf = (id: number, state: Member["state"] = "active"): Member => ({
  id: BigInt(id) as RingId,
  addr: `h${id}:25` as Address,
  uuid: `u${id}` as MemberUuid,
  incarnation: 1,
  state,
});

export const rosterOf = (members: readonly Member[], replicas = 2, epoch = 1): Roster => ({
  epoch,
  ring: { bits: 8, replicas, domain: "ring.test" },
  members: [...members].sort((a, b) => Number(a.id - b.id)),
});

export const mailboxOf = (name: string): MailboxName => `${name}@ring.test` as MailboxName;

/** `n` becomes the id: higher is later. */
export function messageOf(n: number, fields: Partial<StoredMessage> = {}): StoredMessage {
  return {
    id: n.toString(16).padStart(32, "0") as MessageId,
    digest: "d".repeat(64) as StoredMessage["digest"],
    bodyOctets: 3,
    trace: "",
    receivedAtMs: n,
    fingerprint: "f",
    coordinator: "u1" as MemberUuid,
    ...fields,
  };
}

/** A clock that stands still until it is told to go on; sleepers wake when their time has come. */
export class ManualClock implements Clock {
  private now = 1_000_000;
  private sleepers: { atMs: number; wake: () => void }[] = [];

  wallMs(): number {
    return this.now;
  }

  monotonicMs(): number {
    return this.now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((wake, reject) => {
      if (signal?.aborted) return reject(new Error("aborted"));
      this.sleepers.push({ atMs: this.now + ms, wake });
      signal?.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
    });
  }

  async advance(ms: number): Promise<void> {
    this.now += ms;
    const awake = this.sleepers.filter(({ atMs }) => atMs <= this.now);
    this.sleepers = this.sleepers.filter(({ atMs }) => atMs > this.now);
    for (const { wake } of awake) wake();
    await settle();
  }
}

/** Lets all that is ready run. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const zeros: Randomness = { bytes: (n) => Buffer.alloc(n) };

/** A call that waits for its answer. */
export interface PendingCall {
  readonly to: MemberUuid;
  readonly method: PeerMethodName;
  readonly request: Record<string, unknown>;
  readonly answer: (reply: unknown) => Promise<void>;
  readonly fail: () => Promise<void>;
}

/** Peers whose answers the test gives, when it wants. */
export function heldPeers(self = memberOf(1)): { peers: Peers; calls: PendingCall[] } {
  const calls: PendingCall[] = [];
  const peers = {
    self,
    liveness: new Liveness(),
    isSelf: (uuid: MemberUuid) => uuid === self.uuid,
    call: (to: Member, method: PeerMethodName, request: Record<string, unknown>) =>
      new Promise((resolve, reject) => {
        calls.push({
          ...{ to: to.uuid, method, request },
          answer: (reply) => {
            resolve(reply);
            return settle();
          },
          fail: () => {
            reject(new Error("silent"));
            return settle();
          },
        });
      }),
  };
  return { peers: peers as unknown as Peers, calls };
}
