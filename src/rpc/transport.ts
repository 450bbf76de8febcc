import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type PeerCaller, type PeerMessage, PeerUnavailableError } from "../replication/ports.js";
import type { Address } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Log } from "../shared/log.js";
import type { RingCredentials } from "../secrets/index.js";
import { bounds, type Keepalive, keepaliveDefault } from "./bounds.js";
import { grpcReason } from "./exchange.js";
import { helloOf, type MemberIdentity, type PeerIdentity, peerOf } from "./identity.js";
import { PeerLink } from "./link.js";
import { failureText, parseJson, stringify } from "./message.js";
import { type RingReply, type RingRequest, ringStep } from "./schema.js";

export interface PeerTransportOptions {
  readonly self: MemberIdentity;
  /** Of the same uuid. */
  readonly credentials: RingCredentials;
  readonly log: Log;
  readonly keepalive?: Keepalive;
  /** A member answered our hello: for the first time, or again after an outage. */
  onUp?(peer: Address, who: PeerIdentity): void;
  /** A connection broke or the first attempt failed; once per outage. */
  onDown?(peer: Address, reason: string): void;
}

export interface RingCallOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** The calling side: one connection and one stream per member called, opened on first use. */
export interface PeerTransport extends PeerCaller {
  /**
   * One step of stabilization, unary, JSON in and out. Whatever the reason of a failure, the step
   * may have been taken: unlike calls, it can reach a member that has not greeted us yet.
   * @throws PeerUnavailableError
   */
  callRing(peer: Address, message: unknown, options: RingCallOptions): Promise<unknown>;
  /** Connected and greeted at this moment. */
  isUp(peer: Address): boolean;
  /** The member can be reached, as somebody has found out: dials at once if it is not connected. */
  redial(peer: Address): void;
  /** Known to be down. A member never called is neither up nor down. */
  isDown(peer: Address): boolean;
  /** Frames sent to a member over the present and past streams; for measurements. */
  framesSent(peer: Address): number;
  /** Outstanding calls reject with "closed", and so does every later one. */
  close(): void;
}

/**
 * What is guaranteed: a call ends at its deadline, or before. A rejected call with reason
 * "unreachable" was never sent. After "closed", "deadline" and "failed" the call may have been
 * executed, or (not after "closed") may be at this moment; an answer that comes later is dropped.
 */
export function createPeerTransport(options: PeerTransportOptions): PeerTransport {
  const { self, credentials, log } = options;
  const keepalive = options.keepalive ?? keepaliveDefault;
  const links = new Map<Address, PeerLink>();
  let closed = false;

  const linkTo = (peer: Address): PeerLink => {
    const known = links.get(peer);
    if (known !== undefined) return known;
    if (closed) throw new PeerUnavailableError(peer, "closed", `${peer}: transport is closed`);
    const link = new PeerLink(
      peer,
      { self, credentials, keepalive },
      {
        up: (hello) => {
          log.info({ peer, uuid: hello.uuid }, "member connected");
          options.onUp?.(peer, peerOf(hello));
        },
        down: (reason) => {
          log.warn({ peer, reason }, "member not reachable");
          options.onDown?.(peer, reason);
        },
      },
    );
    links.set(peer, link);
    return link;
  };

  // Those that left the ring are not called any more, and not dialled for ever.
  const sweep = setInterval(() => {
    for (const [peer, link] of links) {
      if (link.state !== "down" || link.idleMs < bounds.downIdleMs) continue;
      link.close();
      links.delete(peer);
    }
  }, bounds.downIdleMs / 4);
  sweep.unref();

  return {
    async call(peer, method, request, callOptions = {}): Promise<PeerMessage> {
      const { deadlineMs = limits.peerCallDeadlineMs, signal } = callOptions;
      return linkTo(peer).call(method, request, { deadlineMs, signal });
    },
    async callRing(peer, message, ringOptions): Promise<unknown> {
      return unaryStep(linkTo(peer), self, message, ringOptions);
    },
    isUp: (peer) => links.get(peer)?.state === "up",
    redial: (peer) => links.get(peer)?.redial(),
    isDown: (peer) => links.get(peer)?.state === "down",
    framesSent: (peer) => links.get(peer)?.framesSent ?? 0,
    close(): void {
      closed = true;
      clearInterval(sweep);
      for (const link of links.values()) link.close();
    },
  };
}

function unaryStep(
  link: PeerLink,
  self: MemberIdentity,
  message: unknown,
  { deadlineMs, signal }: RingCallOptions,
): Promise<unknown> {
  const { peer } = link;
  const failure = (reason: PeerUnavailableError["reason"], text: string) =>
    new PeerUnavailableError(peer, reason, `${peer}: ring step: ${text}`);
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(failure("deadline", "aborted before it was sent"));
    let json: string;
    try {
      json = stringify(message);
    } catch (error) {
      return reject(failure("failed", failureText(error)));
    }
    const request: RingRequest = { from: helloOf(self), message: Buffer.from(json) };
    let wasUp = link.state === "up";
    let lostReason: string | undefined;
    const cancel = () => call.cancel();
    const loan = link.borrow((reason, wasGreeted) => {
      lostReason = reason;
      wasUp ||= wasGreeted;
      cancel();
    });
    signal?.addEventListener("abort", cancel, { once: true });
    const onReply = (error: ServiceError | null, reply?: RingReply) => {
      loan.done();
      signal?.removeEventListener("abort", cancel);
      if (error !== null) {
        if (error.code === status.UNAVAILABLE) lostReason ??= grpcReason(error);
        wasUp ||= link.state === "up";
        if (lostReason !== undefined) reject(failure(wasUp ? "closed" : "unreachable", lostReason));
        else if (signal?.aborted === true) reject(failure("deadline", "aborted"));
        else reject(stepFailure(error, deadlineMs, failure));
        return;
      }
      try {
        resolve(parseJson(reply?.message ?? Buffer.alloc(0)));
      } catch (malformed) {
        reject(failure("failed", `reply: ${failureText(malformed)}`));
      }
    };
    const deadline = Date.now() + deadlineMs;
    const call = loan.client.makeUnaryRequest(
      ringStep.path,
      ringStep.requestSerialize,
      ringStep.responseDeserialize,
      request,
      new Metadata(),
      { deadline },
      onReply,
    );
  });
}

function stepFailure(
  error: ServiceError,
  deadlineMs: number,
  failure: (reason: PeerUnavailableError["reason"], text: string) => PeerUnavailableError,
): PeerUnavailableError {
  if (error.code === status.DEADLINE_EXCEEDED) {
    return failure("deadline", `no answer within ${deadlineMs} ms`);
  }
  const isRefusal =
    error.code === status.FAILED_PRECONDITION || error.code === status.UNAUTHENTICATED;
  if (isRefusal) return failure("unreachable", grpcReason(error));
  return failure("failed", grpcReason(error));
}
