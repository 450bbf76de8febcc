import type { Operation } from "../shared/operation.js";

type MailboxKind = "AddMessage" | "RemoveMessage" | "RaiseFloor" | "DropMailbox";

/**
 * An operation with its own order, so that records can be replayed in any order and copied forward.
 * An `AddMessage`, `RemoveMessage` or `RaiseFloor` counts while its epoch is not below the mailbox's; the
 * `DropMailbox` that starts epoch n removes all below n. Of a register or local value the highest
 * version counts.
 */
export type JournaledOperation =
  | (Extract<Operation, { kind: MailboxKind }> & { readonly epoch: number })
  | (Extract<Operation, { kind: "PutRegister" | "PutLocal" }> & { readonly version: number })
  | Extract<Operation, { kind: "ConfirmMessages" }>;
