/** What the parts of the middleware ask of each other, and of the rest of a member. */
import type { Answer, Ask, Frame, OperationName, Packet, RefusalCode } from "../ebm/index.js";
import type { MailboxName } from "../shared/ids.js";

/** Who has proved to be behind a packet: token, device key and signature fit together. */
export interface ProvenSender {
  readonly user: MailboxName;
  readonly device: string;
  readonly epoch: number;
}

export type OperationOutcome<N extends OperationName> =
  | { readonly ok: true; readonly answer: Answer<N> }
  | { readonly ok: false; readonly code: RefusalCode; readonly why: string };

/** `ask` has been checked for its shape. Never rejects for what a client can send. */
export type OperationHandler<N extends OperationName> = (
  ask: Ask<N>,
  sender: ProvenSender,
) => Promise<OperationOutcome<N>>;

export type BrokerOperation =
  | "declareExchange"
  | "removeExchange"
  | "declareQueue"
  | "removeQueue"
  | "queueStatus"
  | "bind"
  | "unbind"
  | "settle"
  | "redrive";

export type PublishOutcome =
  /** Every message is in every queue it belongs to, durably (or was already). `routed`: copies made. */
  | {
      readonly kind: "taken";
      readonly routed: number;
      readonly copies: number;
      readonly copiesWanted: number;
    }
  /** Something before it is missing: the next sequence that is wanted, by stream. */
  | { readonly kind: "early"; readonly expected: Readonly<Record<string, number>> }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly why: string };

export interface Broker {
  readonly operations: { readonly [N in BrokerOperation]: OperationHandler<N> };
  /** DATA frames for exchanges (`properties.exchange`) or, without one, the queue in `routingKey`. */
  publish(packet: Packet, sender: ProvenSender): Promise<PublishOutcome>;
}

/** Whom an answer is for; `queue`: entries of this one are pushed to its owner. */
export interface Addressee {
  readonly user: string;
  readonly address: string;
  readonly queue?: string;
}

/** Takes answers and pushed messages to where a user answers now. */
export interface Answers {
  /**
   * Signed by the ring. To `<user>/config` where the address is ours, else by mail. Entries of queues are sent by mail
   * alone: who has an account here fetches them. Resolves when durable.
   */
  send(to: Addressee, frames: readonly Frame[]): Promise<void>;
}

/** Mail that leaves the ring: made by the middleware only, never for strangers. */
export interface Outgoing {
  /** Resolves when it is durable here; it is sent, and sent again, until it is taken or refused for good. */
  send(mail: { readonly to: string; readonly octets: Buffer }): Promise<void>;
}
