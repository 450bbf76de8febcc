/** Bounds of the broker. */
export const brokerLimits = {
  bindingsMax: 1_000,
  /** Users that a permission names. */
  permittedMax: 1_000,
  /** Exchanges that a queue is bound to. */
  boundToMax: 1_000,
  /** Exchanges and queues, together, of one user. */
  ownedMax: 1_000,
  /** Streams of one device. */
  streamsMax: 256,
  /** Mails that one intention makes, in each queue; a packet that makes more is taken in several steps. */
  copiesPerStepMax: 2_000,
  /** Octets of messages in one entry of an exclusive queue, before they are sealed. */
  batchOctetsMax: 4 * 1024 * 1024,
  /** Deliveries on their way at a time, of one packet. */
  deliveriesMax: 64,
  /** What was agreed on so long ago and is not stored is carried out by nobody any more. */
  abandonedMs: 60_000,
  /** How long a packet waits that came before those in front of it: the slowest of several uploads. */
  earlyMs: 2_000,
  /** So many of one device, and so many octets of all. */
  earlyMax: 16,
  earlyOctetsMax: 24 * 1024 * 1024,
  leaseMs: { standard: 30_000, min: 1_000, max: 12 * 60 * 60 * 1_000 },
  deliveriesOfEntry: { standard: 20, min: 1, max: 1_000 },
  messages: { standard: 100_000, min: 1, max: 10_000_000 },
  octets: { standard: 1024 ** 3, min: 1, max: 1024 ** 4 },
  /** Of a queue that drops its oldest: how much it holds is looked at so long after something came. */
  overflowLookMs: 500,
  /** ... and what is that many times as much as it may hold is refused. */
  overflowFactor: 2,
  /** Entries of which it outlives a leader how often they came back: those that did most often. */
  countsMax: 1_000,
  countsEveryMs: 2_000,
  /** A hand-out waits so long for being noted. */
  countsNotedMs: 1_000,
  /** Of a nack, and of an extension. */
  delayMsMax: 7 * 24 * 60 * 60 * 1_000,
  /** Entries that one consumer is shown at a time. */
  shownMax: { competing: 32, exclusive: 256 },
  /** Of what is on its way to an owner elsewhere, of one queue: what one mail holds. */
  push: {
    octetsMax: 4 * 1024 * 1024,
    framesMax: 5_000,
    /** A mail may wait for days to be fetched, so each delivery waits longer for its acknowledgement. */
    leaseMsMax: 6 * 60 * 60 * 1_000,
    /** How often a member looks for queues that nobody leads. */
    scanMs: 15_000,
    /** After what went wrong with one queue; and when there is nobody to send it to. */
    againMs: 5_000,
    nobodyMs: 30_000,
    queuesMax: 10_000,
  },
  /** A list of what is in a queue is believed for so long while nothing changes in its leader's own copy. */
  listedMs: 1_000,
  /** What the fastest members leave unsure for so long, all are asked about. */
  unsureMs: 1_000,
  /** How long a consumer of several queues waits for their leaders' word that there is something. */
  peekMs: 1_000,
  peekedMax: 64,
  /** Entries of one settlement. */
  settledMax: 10_000,
  /** Of a question that settles in several queues: queues at a time, and how long it waits for them. */
  settledAtATime: 16,
  settledMs: 3_000,
  /** Queues that one node leads. */
  ledMax: 1_000,
  /** Consumers of one queue, at a time. */
  sessionsMax: 1_000,
  /** A leader that nobody asks anything gives the lock up. */
  idleMs: 60_000,
  tickMs: 500,
  /** For a leader to be found, or made, and to answer. */
  callDeadlineMs: 8_000,
  redriveMax: 10_000,
  rememberedMs: 5_000,
  rememberedMax: 10_000,
  /** Of all flows that are remembered. */
  rememberedStreamsMax: 100_000,
} as const;

/** What stands behind a queue's name for its dead letters, unless it says otherwise. */
export const deadSuffix = ".dead";
