/**
 * What members ask of each other. Requests about a key carry the epoch of the caller's roster:
 * a member answers them only when it has the same one, so that no quorum is ever made of two
 * views (`stale`: the caller's is older and is told the newer one).
 */
import type { Floor } from "../shared/floor.js";
import type { Address, BodyDigest, MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type {
  Ballot,
  Operation,
  RegisterState,
  StoredMessage,
  Tombstone,
} from "../shared/operation.js";
import type { MailboxSummary, PeerMessage } from "./ports.js";
import type { Unsettled } from "./retries.js";
import type { RingParameters } from "./roster.js";
import type { NotedTry, TryBounds } from "./try-table.js";

/** A roster as JSON (`rosterToJson`). */
export type RosterJson = unknown;

export type Fenced<R> = R | { kind: "stale"; roster: RosterJson } | { kind: "behind" };

export interface SessionRef {
  readonly mailbox: MailboxName;
  readonly session: string;
}

export interface BodyHeader {
  readonly digest: BodyDigest;
  readonly octets: number;
  /** Name of the transfer that brought a large body; absent: the bytes are the next blob. */
  readonly transfer?: string;
}

export type ReplicateReply =
  | { kind: "stored" }
  | { kind: "full" }
  | { kind: "failed" }
  | { kind: "lockLost" }
  /** Ids below `below` are not to be counted any more: see `Floors`. */
  | { kind: "sunk"; below: string };

export type PrepareReply =
  | { kind: "promised"; accepted: Ballot; value: unknown }
  | { kind: "conflict"; promised: Ballot };

/** `next`: it was promised, too. */
export type AcceptReply =
  | { kind: "accepted"; next?: true }
  | { kind: "conflict"; promised: Ballot };

export interface Progress {
  /** True when every range that this member gains by the change in progress has arrived. */
  readonly done: boolean;
  /** Mailboxes, and of how many. */
  readonly copied: number;
  readonly total: number;
  /** What was fetched over the network for it, and what has to be at the least. */
  readonly messages: number;
  readonly messagesTotal: number;
  readonly octets: number;
  readonly octetsTotal: number;
  /** How long it has taken. */
  readonly sinceMs: number;
}

/** A sign of life. */
export interface Beat {
  /** Names this run of the process. */
  readonly boot: string;
  readonly epoch: number;
  /** What the sender's `RingClock` shows. */
  readonly ringMs: number;
}

export type JoinReply =
  | { kind: "roster"; roster: RosterJson }
  | { kind: "refused"; why: string }
  /** `members`: where else to ask, since the one who answers may be about to leave. */
  | { kind: "busy"; why: string; members: readonly Address[] };

export interface CatalogLine {
  readonly mailbox: MailboxName;
  readonly digest: string;
  readonly pending: boolean;
  /** Live ones, and their octets as they are read. */
  readonly messages: number;
  readonly octets: number;
}

export interface RegisterLine {
  readonly register: string;
  readonly state: RegisterState;
}

/** An entry of a page; `after` of the next request is the last name of this page. */
export interface CatalogPage {
  kind: "page";
  mailboxes: readonly CatalogLine[];
  registers: readonly RegisterLine[];
  more: boolean;
}

/** A mailbox (`m …`) or register (`r …`), and the digest of its state. */
export interface NameDigest {
  readonly name: string;
  readonly digest: string;
}

export interface Surveyed {
  /** `byCopies[n]` keys have n equal copies. A key is a mailbox and its account. */
  readonly byCopies: readonly number[];
  /** `byLiving[n]` keys have n members of their group that answer. */
  readonly byLiving: readonly number[];
  /** Keys of which too few of the former group answer for a quorum. */
  readonly withoutQuorum: number;
}

export interface Mended {
  /** Copied from others. */
  readonly messages: number;
  readonly tombstones: number;
  /** Bodies that were read and are sound, or that were got from another member. */
  readonly sound: number;
  readonly healed: number;
  /** Messages whose body nobody has in sound condition. */
  readonly unhealed: readonly MessageId[];
  /** Where to go on; absent when that was all. The empty one: copying is not complete yet. */
  readonly next?: MessageId | "";
}

export interface Recalled {
  readonly mailbox: MailboxName;
  readonly message: StoredMessage;
  readonly hasBody: boolean;
}

interface Method<Request, Reply> {
  request: Request & PeerMessage;
  reply: Reply & PeerMessage;
}

export interface PeerMethods {
  replicate: Method<
    {
      epoch: number;
      operations: readonly Operation[];
      bodies: readonly BodyHeader[];
      /** The operations are kept only as long as this session holds the mailbox's lock. */
      lock?: SessionRef;
      /** Of the mails that are removed, those whose client is not known to have read its 250. */
      unsettled?: readonly Unsettled[];
    },
    Fenced<ReplicateReply>
  >;
  bodyChunk: Method<
    { transfer: string; offset: number; last: boolean },
    { kind: "ok" } | { kind: "failed"; why: string }
  >;
  readBody: Method<
    { digest: BodyDigest; offset: number; length: number },
    { kind: "bytes" } | { kind: "missing" }
  >;
  settled: Method<
    { confirmed: readonly MessageId[]; doubtful: readonly MessageId[] },
    { kind: "ok" }
  >;

  prepare: Method<{ epoch: number; register: string; ballot: Ballot }, Fenced<PrepareReply>>;
  /** `next`: the ballot of the proposer's next change, promised with it. */
  accept: Method<
    { epoch: number; register: string; ballot: Ballot; value: unknown; next?: Ballot },
    Fenced<AcceptReply>
  >;
  readRegister: Method<
    { epoch: number; register: string },
    Fenced<{ kind: "register"; accepted: Ballot; value: unknown }>
  >;

  acquire: Method<
    { epoch: number; boot: string } & SessionRef,
    Fenced<
      /** `pending`: see `Floors`; below it, what it has of flows does not count as known yet. */
      | { kind: "granted"; summary: MailboxSummary; pending?: string }
      /** `owner`: whose session has it. */
      | { kind: "held"; owner?: MemberUuid }
    >
  >;
  checkLock: Method<{ epoch: number } & SessionRef, Fenced<{ kind: "held" } | { kind: "lost" }>>;
  release: Method<SessionRef, { kind: "ok" }>;
  /** Asked of the front node: is the session alive? */
  holds: Method<SessionRef, { holds: boolean }>;

  /** Notes a try to log in, and answers those that count now. See `mailbox/tries.ts`. */
  noteTry: Method<
    { epoch: number; key: string; id: string } & TryBounds,
    Fenced<{ kind: "tries"; tries: readonly NotedTry[] }>
  >;
  releaseTry: Method<{ epoch: number; key: string; id: string }, Fenced<{ kind: "ok" }>>;

  summary: Method<
    { epoch: number; mailbox: MailboxName },
    Fenced<{ kind: "summary"; summary: MailboxSummary }>
  >;
  /**
   * Ids of a mailbox in order, `limits.pageEntriesMax` at a time, those above `after`: what
   * happens to the mailbox between two pages makes none of the rest slip through.
   */
  listing: Method<
    { mailbox: MailboxName; after: MessageId | "" },
    {
      live: readonly MessageId[];
      removed: readonly Tombstone[];
      more: boolean;
      /** Of the removed ones. */
      unsettled?: readonly Unsettled[];
      /** On the first page, and how high it is on all: it may rise in between. */
      floor?: Floor;
      below?: string;
      /** Of the mailbox as this page was made of it. */
      digest?: string;
      /** See `Floors`: below it, only what is below the floor counts as known. */
      barrier?: string;
    }
  >;
  /** What the asked one has below a barrier (see `Floors`): ids of 16 octets, in base64. */
  sound: Method<
    { epoch: number; mailbox: MailboxName; nonce: string },
    Fenced<{ kind: "sounded"; live: string; last: string } | { kind: "unready" }>
  >;
  /**
   * Messages by id, as many as fit an answer, in the order asked. `bodies[i]` says whether the
   * body of `messages[i]` is the next blob, too large for one (`readBody`), or not to be had.
   */
  fetch: Method<
    { mailbox: MailboxName; ids: readonly MessageId[]; withBodies: boolean },
    {
      messages: readonly StoredMessage[];
      bodies: readonly ("blob" | "large" | "missing" | "omitted")[];
      /** Those whose client may not know of them, see `Retries`. */
      unsettled?: readonly Unsettled[];
    }
  >;

  /** Small bodies by digest, as many as fit an answer: `found[i]` tells of `digests[i]`. */
  bodies: Method<{ digests: readonly BodyDigest[] }, { found: readonly boolean[] }>;

  beat: Method<Beat, Beat>;
  roster: Method<object, { roster: RosterJson }>;
  newRoster: Method<{ roster: RosterJson }, { kind: "ok" }>;
  join: Method<{ id: string; addr: Address; uuid: MemberUuid; ring: RingParameters }, JoinReply>;
  silence: Method<{ of: MemberUuid }, { silentMs: number }>;
  progress: Method<{ epoch: number }, Fenced<{ kind: "progress" } & Progress>>;
  /** What the asker gains by the change in progress. */
  gains: Method<{ epoch: number; after: string }, Fenced<CatalogPage>>;
  /** Digests of the 256 buckets of what both keep; answers the lines of those that differ. */
  compare: Method<
    { epoch: number; buckets: readonly string[]; firstBucket: number },
    Fenced<CatalogPage>
  >;
  /** "I keep this mailbox, but need not: do you have all of it?" The asked one pulls what it lacks. */
  offer: Method<
    { epoch: number; mailbox: MailboxName; digest: string },
    Fenced<{ kind: "complete" } | { kind: "incomplete" }>
  >;
  /**
   * Digests of what both keep, of the buckets that differ, whole buckets from `from` on.
   * `next`: where the rest begins; absent when that was all.
   */
  lines: Method<
    { epoch: number; buckets: readonly string[]; from: number },
    Fenced<{
      kind: "lines";
      differing: readonly number[];
      lines: readonly NameDigest[];
      next?: number;
    }>
  >;
  /** How many equal copies there are of the keys that the asked one answers for. */
  survey: Method<{ epoch: number }, Fenced<{ kind: "survey" } & Surveyed>>;
  /**
   * Has the asked one make its copy of a mailbox whole, a part at a time: it pulls from `source`
   * (absent: from its group), then checks the bodies of messages above `after`.
   */
  mend: Method<
    { epoch: number; mailbox: MailboxName; source?: MemberUuid; after?: MessageId | "" },
    Fenced<{ kind: "mended" } & Mended>
  >;
  /** What the asked one's disk still knows of a message, deleted ones too. */
  recall: Method<{ id: MessageId }, { kind: "unknown" } | ({ kind: "found" } & Recalled)>;
  status: Method<object, { status: unknown }>;
  /** What was remembered of a register is out of date. */
  registerChanged: Method<{ register: string }, { kind: "ok" }>;
  /** Asked of the leader of a queue, or of a member that may become it. */
  queueCall: Method<QueueCall, QueueReply>;
  /** Registers that this member keeps, by name, a page at a time. */
  accounts: Method<{ after: string }, { registers: readonly RegisterLine[]; more: boolean }>;
}

export type PeerMethodName = keyof PeerMethods;
export type RequestOf<M extends PeerMethodName> = PeerMethods[M]["request"];
export type ReplyOf<M extends PeerMethodName> = PeerMethods[M]["reply"];

/** What is asked of the leader of a queue: see `middleware/broker/`. */
export interface QueueCall {
  readonly queue: string;
  readonly command:
    | ("open" | "close" | "settle" | "status" | "redrive" | "purge" | "wake" | "trim")
    /** Is there something to be handed out? */
    | "peek";
  /** Names one consumer. */
  readonly session?: string;
  /** At most so many entries. */
  readonly max?: number;
  /** Of an exclusive queue: also what its consumer was shown before and has not settled. */
  readonly recall?: boolean;
  readonly ack?: readonly MessageId[];
  readonly reject?: readonly MessageId[];
  /** Not looked at. */
  readonly back?: readonly MessageId[];
  readonly nack?: readonly EntryTime[];
  readonly extend?: readonly EntryTime[];
  /** Of a redrive: the queue that dead letters go back to. */
  readonly target?: string;
}

export interface EntryTime {
  readonly entry: MessageId;
  readonly ms: number;
}

export interface QueueEntry {
  readonly message: StoredMessage;
  readonly redelivered: number;
}

export type QueueReply =
  | { kind: "entries"; entries: readonly QueueEntry[] }
  | { kind: "done"; moved?: number }
  | { kind: "peeked"; ready: boolean }
  | { kind: "status"; ready: number; delayed: number; leased: number; octets: number }
  /** One consumer at a time, and there is one. */
  | { kind: "inUse" }
  | { kind: "unknown" }
  /** Another member leads it, if known which. */
  | { kind: "elsewhere"; owner?: MemberUuid }
  | { kind: "failed"; why: string };

/** Who is at the other end of a call. */
export interface Caller {
  readonly uuid: MemberUuid;
  readonly addr: Address;
}

export type PeerHandlers = {
  readonly [M in PeerMethodName]: (
    from: Caller,
    request: RequestOf<M>,
  ) => Promise<ReplyOf<M>> | ReplyOf<M>;
};
