import type { MailboxName, MessageId } from "../shared/ids.js";
import type { JournaledOperation } from "./journaled-operation.js";

/** Tombstones of one mailbox of which no more than the id is known, as they lie in a record. */
interface PackedRemovals {
  readonly kind: "RemoveMessages";
  readonly mailbox: MailboxName;
  readonly epoch: number;
  /** Of the one that was removed last: nothing depends on the others' times. */
  readonly removedAtMs: number;
  /** 16 octets each, in base64. */
  readonly ids: string;
}

/** An operation as it is written: what a record has many of is written together. */
export type WrittenOperation = JournaledOperation | PackedRemovals;

type Removal = Extract<JournaledOperation, { kind: "RemoveMessage" }>;

/** Fewer are written as they are, times and all. */
const packedMin = 4;
const idOctets = 16;

export const isPackable = (operation: JournaledOperation): operation is Removal =>
  operation.kind === "RemoveMessage" &&
  operation.tombstone.fingerprint === undefined &&
  /^[0-9a-f]{32}$/.test(operation.tombstone.id);

/** A fifth of the octets, where much was deleted. Operations do not depend on their order. */
export function packed(operations: readonly JournaledOperation[]): readonly WrittenOperation[] {
  if (operations.length < packedMin) return operations;
  const groups = new Map<string, Removal[]>();
  const written: WrittenOperation[] = [];
  for (const operation of operations) {
    if (!isPackable(operation)) {
      written.push(operation);
      continue;
    }
    const key = `${operation.epoch} ${operation.mailbox}`;
    const group = groups.get(key);
    if (group) group.push(operation);
    else groups.set(key, [operation]);
  }
  for (const group of groups.values()) {
    const [first] = group;
    if (first === undefined || group.length < packedMin) written.push(...group);
    else written.push(packOf(first, group));
  }
  return written;
}

function packOf({ mailbox, epoch }: Removal, group: readonly Removal[]): PackedRemovals {
  const octets = Buffer.from(group.map(({ tombstone }) => tombstone.id).join(""), "hex");
  const removedAtMs = group.reduce((latest, { tombstone }) => {
    return Math.max(latest, tombstone.removedAtMs);
  }, 0);
  return { kind: "RemoveMessages", mailbox, epoch, removedAtMs, ids: octets.toString("base64") };
}

export function unpacked(written: readonly WrittenOperation[]): readonly JournaledOperation[] {
  if (written.every(({ kind }) => kind !== "RemoveMessages")) {
    return written as readonly JournaledOperation[];
  }
  return written.flatMap((operation) => {
    if (operation.kind !== "RemoveMessages") return [operation];
    const { mailbox, epoch, removedAtMs } = operation;
    const octets = Buffer.from(operation.ids, "base64");
    return Array.from({ length: octets.length / idOctets }, (_, index): Removal => {
      const id = octets.toString("hex", index * idOctets, (index + 1) * idOctets) as MessageId;
      return { kind: "RemoveMessage", mailbox, epoch, tombstone: { id, removedAtMs } };
    });
  });
}
