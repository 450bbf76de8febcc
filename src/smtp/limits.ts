import { limits } from "../shared/limits.js";

/** Every bound of the SMTP listener. All that waits has a deadline, all that grows has an end. */
export interface SmtpLimits {
  /** Largest mail, announced as SIZE (RFC 1870). */
  readonly messageOctetsMax: number;
  /** Largest body kept in memory; larger ones go through a spool file. */
  readonly inlineBodyOctetsMax: number;
  /** The same of a mail to the ring itself, which is read whole at once and never stored as it came. */
  readonly ringBodyOctetsMax: number;
  /** What the bodies of all connections together may take in memory before they spool earlier. */
  readonly bodyMemoryOctetsMax: number;
  /** Header of a mail. Servers read headers into memory; over that it is an attack on them. */
  readonly headerOctetsMax: number;
  readonly recipientsMax: number;
  /** `Received:` fields of a mail that leaves the ring: RFC 5321 §6.3 wants at least 100 to pass. */
  readonly hopsMax: number;
  /** A command line with its end. RFC 5321 §4.5.3.1.4 asks for 512, extensions add to it. */
  readonly commandOctetsMax: number;
  /** Base64 of one line of an AUTH exchange: RFC 4954 §4. */
  readonly authLineOctetsMax: number;
  /** Commands from one mail to the next, then 421; refused recipients are among them. */
  readonly commandsPerMailMax: number;
  /** Replies of 500 and above from one mail to the next, then 421. */
  readonly errorsPerMailMax: number;
  /** Commands before AUTH where it is required, then 421. */
  readonly commandsBeforeAuthMax: number;
  /** Wrong passwords on one connection; the next try is answered 421. */
  readonly authFailuresMax: number;
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** How long a greeting is held back to see who talks first. */
  readonly greetingHoldMs: number;
  /** The same for an address that talked first before, and for how long that is remembered. */
  readonly earlyTalkerHoldMs: number;
  readonly earlyTalkerMemoryMs: number;
  /** For a TLS handshake to be over. */
  readonly handshakeMs: number;
  /** For the next command to arrive whole: RFC 5321 §4.5.3.2.7. */
  readonly commandMs: number;
  /** For the next `dataBlockOctets` of a mail: RFC 5321 §4.5.3.2.5. */
  readonly dataBlockMs: number;
  readonly dataBlockOctets: number;
  /** From one mail to the end of the next, whatever the client does meanwhile. */
  readonly transactionMs: number;
  /** From the greeting to the last mail that may begin. */
  readonly sessionMs: number;
  /** For the receiver to answer; after that the client is told to come again. */
  readonly receiverMs: number;
  /** For the reset of a client that left before its 250 came: longer than most round trips. */
  readonly resetWaitMs: number;
  /** How often deadlines are looked at. */
  readonly sweepIntervalMs: number;
  /** For running transactions when the server closes. */
  readonly closeMs: number;
}

export const smtpLimits: SmtpLimits = {
  messageOctetsMax: limits.messageOctetsMax,
  inlineBodyOctetsMax: limits.inlineBodyOctetsMax,
  ringBodyOctetsMax: 2 * 1024 * 1024,
  bodyMemoryOctetsMax: 64 * 1024 * 1024,
  headerOctetsMax: 512 * 1024,
  recipientsMax: limits.recipientsMax,
  hopsMax: 100,
  commandOctetsMax: 4_096,
  authLineOctetsMax: 12_288,
  commandsPerMailMax: 200_000,
  errorsPerMailMax: 100,
  commandsBeforeAuthMax: 50,
  authFailuresMax: 10,
  connectionsMax: 2_000,
  connectionsPerAddressMax: 500,
  greetingHoldMs: 3,
  earlyTalkerHoldMs: 1_000,
  earlyTalkerMemoryMs: 600_000,
  handshakeMs: 60_000,
  commandMs: 300_000,
  dataBlockMs: 180_000,
  dataBlockOctets: 1_024,
  transactionMs: 1_800_000,
  sessionMs: 86_400_000,
  receiverMs: 60_000,
  resetWaitMs: 300,
  sweepIntervalMs: 500,
  closeMs: 10_000,
};
