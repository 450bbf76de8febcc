/** What senders are given, and what they remember of each packet. */
import type { Frame, Origin, UserId } from "../../ebm/index.js";
import type { Journal } from "../journal/journal.js";
import type { Piece } from "./load.js";
import type { LinkOptions, LinkPorts, ReceiptEvent } from "./ports.js";

export interface SenderContext {
  readonly journal: Journal;
  readonly ports: LinkPorts;
  readonly options: Required<LinkOptions>;
  readonly origin: Origin;
  /** Acknowledgements that are due to a user; they leave with the next packet. */
  takeAcks(to: UserId): readonly Frame[];
  acksLost(to: UserId): void;
  tell(event: ReceiptEvent): void;
  nextNumber(): number;
}

export interface Sent {
  readonly number: number;
  readonly pieces: readonly Piece[];
  readonly messageId: string;
  readonly acks: boolean;
  /** It might have had so many. */
  readonly blockOctets: number;
  sentAtMs: number;
  isInAir: boolean;
  isLost: boolean;
}
