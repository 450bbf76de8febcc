import { createHash } from "node:crypto";
import type { Body } from "../shared/body.js";
import type { BodyDigest, MailboxName, MemberUuid, MessageId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Operation, RegisterState, StoredMessage } from "../shared/operation.js";

export interface CollectedLog extends Log {
  readonly lines: { readonly level: string; readonly fields: object; readonly message: string }[];
}

export function collectLog(): CollectedLog {
  const lines: CollectedLog["lines"] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export const alice = "alice@ring.test" as MailboxName;
export const bob = "bob@ring.test" as MailboxName;

export function digestOf(bytes: Buffer): BodyDigest {
  return createHash("sha256").update(bytes).digest("hex") as BodyDigest;
}

export function bodyOf(content: string | Buffer): Extract<Body, { kind: "bytes" }> {
  const bytes = Buffer.from(content);
  return { kind: "bytes", digest: digestOf(bytes), bytes };
}

export function idOf(n: number): MessageId {
  return n.toString(16).padStart(32, "0") as MessageId;
}

export function messageOf(
  n: number,
  body: Body,
  trace = "Return-Path: <a@b.test>\r\n",
): StoredMessage {
  return {
    id: idOf(n),
    digest: body.digest,
    bodyOctets: body.kind === "bytes" ? body.bytes.length : body.octets,
    trace,
    receivedAtMs: 1_800_000_000_000 + n,
    fingerprint: `fingerprint ${n}`,
    coordinator: "4f1c8f1e-7f0e-4d2f-9c57-7a3f1de3a111" as MemberUuid,
  };
}

export function add(mailbox: MailboxName, n: number, body: Body, trace?: string): Operation {
  return { kind: "AddMessage", mailbox, message: messageOf(n, body, trace) };
}

export function remove(mailbox: MailboxName, n: number): Operation {
  return { kind: "RemoveMessage", mailbox, tombstone: { id: idOf(n), removedAtMs: n } };
}

export function registerState(counter: number, value: unknown): RegisterState {
  const ballot = { counter, proposer: "p" };
  return { promised: ballot, accepted: ballot, value };
}

export function putRegister(
  register: string,
  counter: number,
  value: unknown = counter,
): Operation {
  return { kind: "PutRegister", register, state: registerState(counter, value) };
}
