/** From the octets of a mail to what is asked. Pure. */
import {
  type Ask,
  EbmFormatError,
  openPacket,
  type OperationName,
  type Packet,
  readMail,
} from "../../ebm/index.js";
import { faultOf, isOperation, parseAsk } from "./questions.js";

export type ReadPacket =
  | { readonly kind: "packet"; readonly packet: Packet }
  /** Whole, but forged or late: for the log, and the sender. */
  | { readonly kind: "refused"; readonly why: string }
  /** For the operator to look at. */
  | { readonly kind: "notUnderstood"; readonly why: string };

/** Never throws. */
export function readPacket(mail: Buffer, nowMs: number): ReadPacket {
  try {
    const { packet } = readMail(mail);
    if (!packet) return { kind: "notUnderstood", why: "there is no EBM/1 packet in it" };
    return { kind: "packet", packet: openPacket(packet, nowMs) };
  } catch (error) {
    if (!(error instanceof EbmFormatError)) throw error;
    const { reason, message: why } = error;
    return { kind: reason === "malformed" ? "notUnderstood" : "refused", why };
  }
}

export type Question = {
  readonly [N in OperationName]: {
    /** The answer has the same. */
    readonly id: string;
    readonly operation: N;
    readonly ask: Ask<N>;
  };
}[OperationName];

export type ReadQuestion =
  | { readonly kind: "question"; readonly question: Question }
  /** An operation that we know, with what it can't be asked: why. */
  | { readonly kind: "malformed"; readonly why: string }
  | { readonly kind: "notUnderstood"; readonly why: string };

/** A packet to the control address has one question in it, and nothing else. */
export function questionIn({ frames }: Packet): ReadQuestion {
  const [frame] = frames;
  if (frame?.kind !== "configuration" || frames.length > 1) {
    return { kind: "notUnderstood", why: "the packet is not one question" };
  }
  const { operation, ask } = frame.body as { operation?: unknown; ask?: unknown };
  if (typeof operation !== "string" || !isOperation(operation)) {
    return { kind: "notUnderstood", why: "an operation that is not known here" };
  }
  const parsed = parseAsk(operation, ask);
  if (!parsed) return { kind: "malformed", why: faultOf(operation, ask) };
  return { kind: "question", question: { id: frame.id, operation, ask: parsed } as Question };
}
