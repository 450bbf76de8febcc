/** The bounds of EBM/1, the wire protocol of reliable messages over ordinary mail. */
export const ebmBounds = {
  /** Of the octets of one packet's frames, before base64: what fits through most mail systems. */
  blockOctets: 4 * 1024 * 1024,
  /** Of a packet that is read at all, before it is decoded. */
  mailOctetsMax: 36 * 1024 * 1024,
  /** Of the frames after decompression; stops a bomb. */
  contentOctetsMax: 32 * 1024 * 1024,
  headerOctetsMax: 16 * 1024,
  /** Of what stands beside the octets of a DATA frame: its properties, as JSON. */
  metaOctetsMax: 16 * 1024,
  /** Of one frame that is not DATA, as JSON. */
  controlOctetsMax: 512 * 1024,
  /** RFC 5322 §2.1.1 recommends lines of 78; the index is all of the Subject. */
  subjectCharsMax: 78,
  framesMax: 10_000,
  ackRangesMax: 32,
  /** Of one message, whole. */
  messageOctetsMax: 256 * 1024 * 1024,
  streamsMax: 256,
  /** Queues (or parts of what is settled in one) in one question; its answer is one line of SMTP. */
  settlementsMax: 128,
} as const;

/** Something that is not EBM/1, or not whole. `message` is one line. */
export class EbmFormatError extends Error {
  override readonly name = "EbmFormatError";
  constructor(
    message: string,
    /** `forged`: whole, but not signed with the key it names; `expired`: whole and signed, but late. */
    readonly reason: "malformed" | "forged" | "expired" = "malformed",
  ) {
    super(message);
  }
}
