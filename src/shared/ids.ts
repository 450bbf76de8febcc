/** Names and ids that cross rooms. All are plain strings at run time, branded at compile time. */

type Brand<T, B extends string> = T & { readonly __brand: B };

/** A point on the identifier circle: 0 ≤ id < 2^bits. */
export type RingId = Brand<bigint, "RingId">;

/** `host:port` that a member serves ring traffic on. */
export type Address = Brand<string, "Address">;

/** Random identity of a data directory (UUID). A node that comes back with its data keeps it. */
export type MemberUuid = Brand<string, "MemberUuid">;

/** 32 lower-case hex digits: a UUIDv7 (RFC 9562 §5.7) without dashes, so ids sort by time. */
export type MessageId = Brand<string, "MessageId">;

/** Canonical address of a mailbox, e.g. `alice@ring.test`: NFC, lower case. */
export type MailboxName = Brand<string, "MailboxName">;

/** SHA-256 of a body, 64 lower-case hex digits. */
export type BodyDigest = Brand<string, "BodyDigest">;
