/** Reliable messaging over ordinary mail, usable on its own as `ringpost/sdk`. */
export type * from "./api.js";
export { RingpostError, type RingpostErrorCode } from "./errors.js";
