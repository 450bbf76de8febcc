/** What is in a packet, and the mail that is made of it. */
import type { KeyObject } from "node:crypto";
import {
  composeMail,
  type DataFrame,
  type Frame,
  type Origin,
  type PacketIndex,
  sealPacket,
  type UserId,
} from "../../ebm/index.js";
import type { Journal } from "../journal/journal.js";
import type { Piece } from "./load.js";
import type { Outgoing } from "./ports.js";

/** A packet is not believed for longer. */
const packetLifeMs = 7 * 86_400_000;

export interface PacketParts {
  readonly to: UserId;
  readonly origin: Origin;
  readonly index: PacketIndex;
  readonly frames: readonly Frame[];
  /** Every packet below is acknowledged, or was sent again. */
  readonly floor: number;
  readonly messageId: string;
  readonly privateKey: KeyObject;
  readonly nowMs: number;
}

export function outgoingOf(parts: PacketParts): Outgoing {
  const { to, origin, index, frames, floor, messageId, privateKey, nowMs } = parts;
  const { connection, packet } = index;
  return {
    ...{ to, index, messageId },
    mail: ({ from, to: address, token }) => {
      const header = {
        ...{ connection, packet, from: origin, to, floor },
        ...{ expiresAtMs: nowMs + packetLifeMs, ...(token !== undefined && { token }) },
      };
      return composeMail({
        ...{ from, to: address, index, messageId, date: new Date(nowMs) },
        packet: sealPacket({ header, frames, privateKey }),
      });
    },
  };
}

export interface FrameParts {
  readonly piece: Piece;
  /** All below is settled; told once per stream and packet. */
  readonly base: number | undefined;
  readonly journal: Journal;
}

/**
 * Every block says where its message goes, and when its time is over: what its receiver has of it is of no use after
 * that. At once when its octets are in memory. @throws RingpostError `store` when they can't be read */
export function dataFrame(parts: FrameParts): DataFrame | Promise<DataFrame> {
  const { piece, base, journal } = parts;
  const { load, from, to } = piece;
  const { message } = load;
  const { stream, sequence, id, properties } = message;
  const place = { kind: "data" as const, stream, sequence, id };
  const above = base !== undefined && base > 1 && { base };
  if (load.isVoid || message.isVoid) {
    const { sentAtMs } = properties;
    const nothing = { offset: 0, size: 0, octets: Buffer.alloc(0) };
    return { ...place, ...above, ...nothing, properties: { sentAtMs }, void: true };
  }
  const size = message.octets;
  const isWhole = from === 0 && to >= size;
  const offset = Math.min(from, size);
  const { content, digest } = message;
  const end = Math.min(to, size);
  const block = (octets: Buffer): DataFrame => ({
    kind: "data",
    stream,
    sequence,
    id,
    offset,
    size,
    octets,
    ...above,
    ...(!isWhole && { digest }),
    properties,
  });
  if ("octets" in content) return block(content.octets.subarray(from, end));
  return journal.read(content, from, end).then(block);
}
