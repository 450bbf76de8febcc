import type { BodyDigest } from "./ids.js";

/**
 * A mail body on its way into the store. Small ones are in memory; large ones were spooled to a
 * file by the node that has them, so that no mail is ever whole in memory beyond the limit.
 */
export type Body = {
  /** Its header has a Message-ID, so that equal octets are the same mail. Set where mail comes in. */
  readonly hasMessageId?: boolean;
} & (
  | { readonly kind: "bytes"; readonly digest: BodyDigest; readonly bytes: Buffer }
  | {
      readonly kind: "file";
      readonly digest: BodyDigest;
      readonly octets: number;
      /** A file of the store's spool; the store takes it over (renames it) when it is written. */
      readonly path: string;
    }
);
