/** What travels in frames: identities and messages. */

/** A user is an identifier, for example `alice@ring.test`; where they answer now is looked up. */
export type UserId = string;

/** One program of a user, with a signing key of its own. */
export interface DeviceId {
  readonly user: UserId;
  /** Random, 1 to 32 of `A-Z a-z 0-9 _ -`. For the ring itself: the id of the ring's key. */
  readonly device: string;
}

/** Where a message comes from. A new epoch begins when a device has lost its state. */
export interface Origin extends DeviceId {
  /** Milliseconds since 1970 when the epoch began: later ones are greater. */
  readonly epoch: number;
}

/** What an application says of a message, and what the broker needs to route it. */
export interface MessageProperties {
  /** Absent for what goes to a user directly. */
  readonly exchange?: string;
  readonly routingKey?: string;
  /** For `headers` exchanges, and for the application. At most 64. */
  readonly headers?: Readonly<Record<string, string | number | boolean>>;
  /** `application/json`, `text/plain; charset=utf-8` or `application/octet-stream` from our SDK. */
  readonly contentType?: string;
  readonly kind?: "message" | "request" | "response" | "chat";
  /** Of a request, and of the response to it. */
  readonly correlationId?: string;
  /** Milliseconds since 1970. */
  readonly sentAtMs: number;
  /** After it, the message is a dead letter. */
  readonly expiresAtMs?: number;
  /** Not to be consumed before. */
  readonly deliverAtMs?: number;
  /** 0 to 9, higher first; default 4. */
  readonly priority?: number;
}
