/** Every bound in one place, with its unit in the name. Rooms import the number they enforce. */
export const limits = {
  /** Largest body kept in memory and inline in a journal record; larger ones go through files. */
  inlineBodyOctetsMax: 256 * 1024,
  /** Largest mail accepted by default (RFC 1870 SIZE). */
  messageOctetsMax: 64 * 1024 * 1024,
  /** Piece of a body in one ring frame. */
  bodyChunkOctets: 256 * 1024,
  /** RFC 5321 §4.5.3.1.8 asks for at least 100. */
  recipientsMax: 1_000,
  /** Deadline of one call between members. */
  peerCallDeadlineMs: 2_000,
  /** Deadline of a call that moves data (pull, repair). */
  peerTransferDeadlineMs: 15_000,
  /** Entries of one page when members exchange lists. */
  pageEntriesMax: 2_000,
} as const;
