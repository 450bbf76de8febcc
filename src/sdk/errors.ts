import type { RefusalCode } from "../ebm/index.js";

export type RingpostErrorCode =
  | RefusalCode
  /** No server of the list can be reached. */
  | "unreachable"
  | "timeout"
  /** Not logged in. */
  | "loginNeeded"
  /** The journal can't be written. */
  | "store"
  | "closed"
  /** The handler of a request threw; `message` is its error's. */
  | "failed"
  /** Given up after its TTL, bounced, or refused for good. */
  | "dead";

/** What a caller may want to decide by: `code`, and whether to try again. */
export class RingpostError extends Error {
  override readonly name = "RingpostError";
  constructor(
    readonly code: RingpostErrorCode,
    message: string,
    /** The same call may succeed later. */
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
