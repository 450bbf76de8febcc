/** A publish that is refused, and why. */
import type { RefusalCode } from "../../ebm/index.js";
import type { PublishOutcome } from "../ports.js";

export type Refused = Extract<PublishOutcome, { kind: "refused" }>;
export const refused = (code: RefusalCode, why: string): Refused => ({
  kind: "refused",
  code,
  why,
});
export const undecided = (why: string): Refused => refused("undecided", why);
