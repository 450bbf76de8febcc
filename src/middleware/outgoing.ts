/** Mail that leaves the ring through a smart host: kept on the ring until that has taken it. */
import { createHash } from "node:crypto";
import { envelopeLines, outgoingMailbox, outgoingRoom } from "../mailbox/outgoing-mail.js";
import type { MailReceiver } from "../mailbox/ports.js";
import type { Quotas } from "../mailbox/quotas.js";
import { parseAddress } from "../mime/address.js";
import type { Files } from "../replication/ports.js";
import type { Body } from "../shared/body.js";
import type { BodyDigest } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import type { Outgoing } from "./ports.js";

export interface OutgoingOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly receiver: Pick<MailReceiver, "deliver" | "settled" | "spoolPath">;
  readonly quotas: Pick<Quotas, "check">;
  readonly files: Files;
  /** A mail lies there now. */
  readonly onAdded: () => void;
}

/** Why a mail was not kept. `message` is one line. */
export class OutgoingError extends Error {
  override readonly name = "OutgoingError";
  constructor(
    readonly code: "off" | "invalid" | "full" | "undecided",
    message: string,
  ) {
    super(message);
  }
}

/** Where no smart host is configured. */
export const noOutgoing: Outgoing = {
  send: () =>
    Promise.reject(
      new OutgoingError("off", "mail can't leave this ring: no --relay is set on this member"),
    ),
};

/** @throws OutgoingError from `send` */
export function createOutgoing(options: OutgoingOptions): Outgoing {
  const { domain, receiver, quotas, files, onAdded } = options;
  const mailbox = outgoingMailbox(domain);
  return {
    async send({ to, octets }) {
      const parsed = parseAddress(to);
      if (parsed.kind === "invalid") throw new OutgoingError("invalid", `${to}: ${parsed.why}`);
      if (parsed.domain === "") throw new OutgoingError("invalid", `${to}: domain is missing`);
      const room = await quotas.check(mailbox, outgoingRoom, octets.length);
      if (room === "full") throw noRoom();
      const answer = await receiver.deliver({
        // Equal octets to two recipients are two mails.
        sender: to,
        mailboxes: [mailbox],
        body: await bodyOf(octets, receiver.spoolPath, files),
        traceFor: () => envelopeLines({ to, from: "" }),
      });
      switch (answer.kind) {
        case "stored":
          receiver.settled(answer.ids, "confirmed");
          onAdded();
          return;
        case "tempfail":
          throw new OutgoingError("undecided", answer.why);
        case "full":
        case "overQuota":
          throw noRoom();
      }
    },
  };
}

const noRoom = (): OutgoingError =>
  new OutgoingError("full", "too much mail waits to leave the ring; is the smart host there?");

async function bodyOf(octets: Buffer, spoolPath: () => string, files: Files): Promise<Body> {
  const digest = createHash("sha256").update(octets).digest("hex") as BodyDigest;
  if (octets.length <= limits.inlineBodyOctetsMax) return { kind: "bytes", digest, bytes: octets };
  const path = spoolPath();
  try {
    const file = await files.create(path);
    try {
      await file.append(octets);
    } finally {
      await file.close();
    }
  } catch (error) {
    await files.remove(path);
    throw new OutgoingError("full", `the mail could not be written: ${String(error)}`);
  }
  return { kind: "file", digest, octets: octets.length, path };
}
