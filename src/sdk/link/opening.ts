/** What a mail of the maildrop is: a packet, a report of what became of one, or no mail of ours. */
import {
  EbmFormatError,
  OpenedPackets,
  openPacket,
  type Packet,
  type ReadMail,
  readMail,
} from "../../ebm/index.js";
import type { Journal } from "../journal/journal.js";
import type { LetterFacts } from "../journal/records.js";
import { type Bounce, mayBeBounce, readBounce } from "./bounces.js";
import type { Dice, Received } from "./ports.js";
import { uuidv7 } from "./uuid.js";

const parseTries = 3;
const unparsedMax = 1_000;
/** Kept of a mail that can't be parsed. */
const unparsedOctetsMax = 1024 * 1024;

export interface OpeningOptions {
  readonly journal: Journal;
  readonly nowMs: () => number;
  readonly dice: Dice;
  /** True when the bounce is of a packet of ours. */
  readonly bounced: (bounce: Bounce) => boolean;
  readonly dead: (letter: LetterFacts) => void;
}

export class Opening {
  readonly #options: OpeningOptions;
  /** Failed tries, by unique-id. */
  readonly #unparsed = new Map<string, number>();
  readonly #opened = new OpenedPackets();

  constructor(options: OpeningOptions) {
    this.#options = options;
  }

  /** The packet, its signature checked against its own key; or what becomes of the mail. */
  async open(mail: Buffer, id: string): Promise<Packet | Received> {
    // A report may have our own packet in it: it is no packet for us.
    if (mayBeBounce(mail)) return this.#report(mail);
    let read: ReadMail;
    let packet: Packet;
    try {
      read = readMail(mail);
      if (read.packet === undefined) return await this.#withoutPacket(mail, id, read);
      packet = openPacket(read.packet, this.#options.nowMs(), this.#opened);
    } catch (error) {
      if (!(error instanceof EbmFormatError)) throw error;
      if (error.message === "the packet has expired") return { kind: "done" };
      return this.#notParsed(mail, id, error.message);
    }
    this.#unparsed.delete(id);
    return packet;
  }

  #report(mail: Buffer): Received {
    const bounce = readBounce(mail);
    return bounce && this.#options.bounced(bounce) ? { kind: "done" } : { kind: "foreign" };
  }

  async #withoutPacket(mail: Buffer, id: string, { index }: ReadMail): Promise<Received> {
    const report = this.#report(mail);
    if (report.kind === "done") return report;
    if (index === undefined) return { kind: "foreign" };
    return this.#notParsed(mail, id, "the packet was taken out of its mail");
  }

  /** It may have been cut off by a mail server in a hurry; three times is no chance. */
  async #notParsed(mail: Buffer, id: string, why: string): Promise<Received> {
    const tries = (this.#unparsed.get(id) ?? 0) + 1;
    this.#unparsed.delete(id);
    if (tries < parseTries) {
      this.#unparsed.set(id, tries);
      const [oldest] = this.#unparsed.keys();
      if (this.#unparsed.size > unparsedMax && oldest !== undefined) this.#unparsed.delete(oldest);
      return { kind: "keep", why };
    }
    const { journal, nowMs, dice, dead } = this.#options;
    const atMs = nowMs();
    const letter: LetterFacts = {
      ...{ id: uuidv7(atMs, dice(10)), direction: "in", why, atMs, user: "" },
    };
    await journal.write({ kind: "letter", letter }, mail.subarray(0, unparsedOctetsMax));
    dead(letter);
    return { kind: "dead", why };
  }
}
