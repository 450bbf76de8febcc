import { performance } from "node:perf_hooks";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import type { PeerMessage } from "../replication/ports.js";
import type { MemberUuid } from "../shared/ids.js";
import { bounds } from "./bounds.js";
import { proofOf } from "./credentials.js";
import { encodeHello, outgoingItem, type ReceivedCall, type ReceivedFrame } from "./frame.js";
import { helloOf, type MemberIdentity, type PeerIdentity, peerOf, refusal } from "./identity.js";
import { failureText, packMessage, unpackMessage } from "./message.js";
import { Outbox } from "./outbox.js";
import { DelayMeter } from "./staleness.js";

export type PeerCallHandler = (
  from: PeerIdentity,
  method: string,
  message: PeerMessage,
) => Promise<PeerMessage>;

export interface InboundEvents {
  onPeerCall: PeerCallHandler;
  /** A member was greeted on this stream. Called before any of its calls. */
  greeted(exchange: InboundExchange, peer: PeerIdentity): void;
  refused(reason: string): void;
  /** The stream is over, for whatever reason; once. `uuid` when it had been greeted. */
  gone(exchange: InboundExchange, uuid: MemberUuid | undefined): void;
}

/**
 * The serving end of one stream: runs its calls side by side, answers in the order in which they
 * finish. A caller that sends faster than its calls finish is not read for a while.
 */
export class InboundExchange {
  #peer: PeerIdentity | undefined;
  #over = false;
  #draining = false;
  #paused = false;
  #running = 0;
  /** Octets of requests that run, and of answers that wait. */
  #octets = 0;
  readonly #delay = new DelayMeter();
  readonly #outbox = new Outbox((answer) => this.#release(answer.octets));
  readonly #helloTimer: NodeJS.Timeout;

  constructor(
    private readonly stream: ServerDuplexStream<ReceivedFrame, Buffer>,
    private readonly self: MemberIdentity,
    private readonly events: InboundEvents,
  ) {
    this.#helloTimer = setTimeout(
      () => this.cut(status.DEADLINE_EXCEEDED, "no hello"),
      bounds.helloDeadlineMs,
    );
    stream.on("data", (frame: ReceivedFrame) => this.#onFrame(frame));
    stream.on("cancelled", () => this.#finish());
    stream.on("error", () => this.#finish());
    stream.on("end", () => {
      this.#finish();
      stream.end();
    });
  }

  /** Ends the stream with an error. */
  cut(code: status, details: string): void {
    if (this.#over) return;
    // gRPC takes code and details from the error; `#finish` runs as its listener.
    this.stream.emit("error", Object.assign(new Error(details), { code, details }));
  }

  /** Takes no more calls; ends the stream when those that run are answered. */
  drain(): void {
    this.#draining = true;
    this.#endWhenIdle();
  }

  #onFrame(frame: ReceivedFrame): void {
    if (this.#over) return;
    const lateMs = this.#delay.lateMs(frame.sentMs, performance.now());
    if (this.#peer === undefined) return this.#onHello(frame);
    for (const call of frame.calls) {
      if (this.#draining) this.#answer(call.id, "this member is stopping");
      else if (lateMs > call.deadlineMs) this.#answer(call.id, "read after its deadline");
      else void this.#run(this.#peer, call); // never rejects
    }
  }

  #onHello({ hello }: ReceivedFrame): void {
    const reason =
      hello === undefined
        ? "the first frame had no hello"
        : refusal(this.self, hello, proofOf(this.stream.getAuthContext()));
    if (hello === undefined || reason !== undefined) {
      this.events.refused(reason ?? "");
      return this.cut(status.FAILED_PRECONDITION, `refused: ${reason}`);
    }
    clearTimeout(this.#helloTimer);
    this.#peer = peerOf(hello);
    this.events.greeted(this, this.#peer);
    this.stream.write(encodeHello(helloOf(this.self), performance.now()));
    this.#outbox.open((frame, written) => void this.stream.write(frame, written));
  }

  async #run(peer: PeerIdentity, call: ReceivedCall): Promise<void> {
    let octets = call.header.length;
    for (const blob of call.blobs) octets += blob.length;
    this.#running += 1;
    this.#hold(octets);
    try {
      const message = unpackMessage(call.header, call.blobs);
      const answer = await this.events.onPeerCall(peer, call.method, message);
      const { header, blobs } = packMessage(answer);
      this.#answer(call.id, "", header, blobs);
    } catch (error) {
      this.#answer(call.id, failureText(error));
    } finally {
      this.#running -= 1;
      this.#release(octets);
    }
  }

  #answer(id: number, failure: string, header = "", blobs: readonly Buffer[] = []): void {
    if (this.#over) return;
    const item = outgoingItem({
      kind: "answer",
      id,
      text: failure,
      header,
      blobs,
      deadlineAtMs: 0,
    });
    this.#hold(item.octets);
    this.#outbox.push(item);
  }

  #hold(octets: number): void {
    this.#octets += octets;
    if (this.#paused || !this.#isOver(1)) return;
    this.#paused = true;
    this.stream.pause();
  }

  #release(octets: number): void {
    this.#octets -= octets;
    if (this.#paused && !this.#isOver(0.5)) {
      this.#paused = false;
      this.stream.resume();
    }
    if (this.#draining) this.#endWhenIdle();
  }

  /** Whether more than `share` of what this stream may hold is held. */
  #isOver(share: number): boolean {
    return (
      this.#running >= bounds.callsRunningMax * share ||
      this.#octets > bounds.octetsRunningMax * share
    );
  }

  #endWhenIdle(): void {
    // The answer that is handed out right now is written before the end.
    if (this.#running > 0 || this.#octets > 0 || this.#over) return;
    setImmediate(() => {
      this.#finish();
      this.stream.end();
    });
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#helloTimer);
    this.#outbox.close();
    this.events.gone(this, this.#peer?.uuid);
  }
}
