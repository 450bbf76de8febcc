/** What bounds the transport: each queue, frame and wait has its number here. */
export const bounds = {
  /** Members of different versions do not talk. */
  protocolVersion: 1,
  /** A frame is closed when it holds this many octets or items, whichever comes first. */
  frameOctetsTarget: 1024 * 1024,
  frameItemsTarget: 256,
  /** One message, header and blobs together. */
  messageOctetsMax: 6 * 1024 * 1024,
  messageBlobsMax: 4_096,
  /** Largest frame accepted: a frame that is almost full plus one largest message. */
  frameOctetsMax: 8 * 1024 * 1024,
  /** Calls, answers and blobs of one frame; a frame of empty ones must not explode in memory. */
  framePartsMax: 256 + 4_096,
  /** Frames handed to HTTP/2 and not yet written; what comes meanwhile is coalesced. */
  framesInFlightMax: 2,
  /** What waits to be sent on one stream; a call beyond it fails at once. */
  queueOctetsMax: 32 * 1024 * 1024,
  /** Unanswered calls to one member. */
  callsOutstandingMax: 16_384,
  /** Calls of one member that run here; beyond it its stream is not read. */
  callsRunningMax: 1_024,
  /** Octets of requests that run here plus answers not sent yet, per stream; as above. */
  octetsRunningMax: 32 * 1024 * 1024,
  /** From the first attempt to connect until the other side's hello. */
  helloDeadlineMs: 2_000,
  /** Of TLS, for those who connect and say nothing. */
  handshakeDeadlineMs: 5_000,
  /** A connection on which nobody calls; links to members always have a stream open. */
  idleConnectionMs: 60_000,
  /** Calls of strangers who want to get in, at a time and in length. */
  strangersMax: 8,
  enrollDeadlineMs: 10_000,
  reconnectMsMin: 50,
  reconnectMsMax: 1_000,
  /** An attempt to connect that is younger goes on when its member turns out to be alive. */
  redialMs: 200,
  /** A member that is down and that nobody called for so long is forgotten. */
  downIdleMs: 60_000,
  /** Deadline of a command of the command line. */
  adminDeadlineMs: 30_000,
  /** Text of a failure that crosses the wire. */
  failureCharsMax: 300,
} as const;

/** Pings find a peer that is silent although its connection stands. */
export interface Keepalive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export const keepaliveDefault: Keepalive = { intervalMs: 1_000, timeoutMs: 1_000 };
