/** A mail as people read it. What is in it was written by strangers: nothing here is fit to print. */
export interface ParsedMail {
  readonly kind: "parsed";
  /** As in the header, encoded words undone; "" when there is none. */
  readonly from: string;
  readonly to: string;
  readonly cc: string;
  readonly subject: string;
  /** Of the `Date:` field; absent when there is none that is a date. */
  readonly date?: Date;
  /** The text part, or the HTML part without its tags. */
  readonly text: string;
  /** The text was longer than is shown. */
  readonly cut: boolean;
  readonly attachments: readonly MailAttachment[];
}

export interface MailAttachment {
  /** "" when it has none. */
  readonly name: string;
  readonly type: string;
  /** Decoded. */
  readonly octets: number;
}

/** Not looked into, by no fault of the mail's owner. `why` is one line. The mail itself is whole. */
export interface UnparsableMail {
  readonly kind: "unparsable";
  readonly why: string;
}

export type MailView = ParsedMail | UnparsableMail;

/** What a parser is given and may take. */
export const viewLimits = {
  mailOctetsMax: 64 * 1024 * 1024,
  /** Of one part's header, in octets. */
  headerOctetsMax: 256 * 1024,
  partsMax: 1_000,
  /** Nested parts need one each, so this bounds the depth as well. */
  boundariesMax: 1_000,
  textCharsMax: 512 * 1024,
  attachmentsMax: 1_000,
  /** JavaScript heap of the parser. */
  heapMebioctetsMax: 192,
} as const;

/** What goes to the worker, and what comes back. `job` names the mail. */
export type ToWorker = { readonly job: number } & (
  | { readonly kind: "piece"; readonly octets: Uint8Array<ArrayBuffer> }
  | { readonly kind: "end" }
);
export type FromWorker = { readonly job: number } & (
  | { readonly kind: "more" }
  | { readonly kind: "view"; readonly view: MailView }
);
