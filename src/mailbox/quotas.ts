/**
 * How much a mailbox may hold. The group of a mailbox knows how much it does hold; a front node
 * asks a majority of it and remembers the answer for a while, counting what it takes itself.
 *
 * Nodes do not wait for each other, so a quota can be overshot, by bounds: on a remembered answer a
 * node takes no more than its share of the free room; beyond that it asks anew. Too much can
 * therefore only be taken by deliveries that are under way through several nodes at the same
 * moment, each within what was free then: at most (members - 1) times that.
 */
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Quota } from "./accounts.js";

export interface Amount {
  readonly octets: number;
  readonly messages: number;
}

interface QuotasOptions {
  /** Of accounts that have none of their own. */
  readonly standard: Quota;
  /** What a mailbox holds; undefined when too few members of its group answer. */
  readonly usageOf: (mailbox: MailboxName) => Promise<Amount | undefined>;
  /** How many members take mail. */
  readonly members: () => number;
  readonly clock: Clock;
}

interface Book {
  /** As the account said at the last RCPT. */
  quota: Quota;
  used: Amount;
  usedUntilMs: number;
  /** Taken by this node, and perhaps not in `used`. */
  taken: Amount;
  /** Of that, what is on its way to the group. */
  underWay: Amount;
  asking: Promise<boolean> | undefined;
  /** What may not be in the answer that is being waited for. */
  takenSince: Amount;
}

/** Room for a mail, to be given back when the mail was not stored. */
export interface Reservation {
  end(isStored: boolean): void;
}

const rememberedMs = 5_000;
const booksMax = 10_000;
const nothing: Amount = { octets: 0, messages: 0 };

export class Quotas {
  /** Of mailboxes with a quota, least recently used first. */
  private readonly books = new Map<MailboxName, Book>();

  constructor(private readonly options: QuotasOptions) {}

  /** What holds for an account. */
  quotaOf(own: Quota | undefined): Quota {
    return own ?? this.options.standard;
  }

  usageOf(mailbox: MailboxName): Promise<Amount | undefined> {
    return this.options.usageOf(mailbox);
  }

  /** Whether a mail of at least `octets` can be taken. Reserves nothing. */
  async check(
    mailbox: MailboxName,
    own: Quota | undefined,
    octets: number,
  ): Promise<"fits" | "full" | "undecided"> {
    const quota = this.quotaOf(own);
    if (isUnbounded(quota)) {
      this.books.delete(mailbox);
      return "fits";
    }
    // A mail of unknown size has an octet at the least: none fits into a mailbox that is full.
    const mail = { octets: Math.max(1, octets), messages: 1 };
    return this.fits(this.bookFor(mailbox, quota), mailbox, mail);
  }

  /**
   * Takes room for one mail each; undefined when one of the mailboxes has none. A mailbox whose
   * members do not tell is taken to have room: RCPT was answered by them a moment ago.
   */
  async reserve(
    copies: readonly { readonly mailbox: MailboxName; readonly octets: number }[],
  ): Promise<Reservation | undefined> {
    const bounded = copies.flatMap(({ mailbox, octets }) => {
      const book = this.books.get(mailbox);
      return book ? [{ mailbox, book, amount: { octets, messages: 1 } }] : [];
    });
    const taken: (readonly [Book, Amount])[] = [];
    const end = (isStored: boolean): void => {
      for (const [book, amount] of taken) {
        book.underWay = minus(book.underWay, amount);
        if (!isStored) {
          book.taken = minus(book.taken, amount);
          book.takenSince = minus(book.takenSince, amount);
        }
      }
    };
    await Promise.all(
      bounded.map(async ({ mailbox, book, amount }) => {
        if ((await this.fits(book, mailbox, amount)) === "full") return;
        // In the same turn as the answer: two mails never fit into the room of one.
        book.taken = plus(book.taken, amount);
        book.takenSince = plus(book.takenSince, amount);
        book.underWay = plus(book.underWay, amount);
        taken.push([book, amount]);
      }),
    );
    if (taken.length === bounded.length) return { end };
    end(false);
    return undefined;
  }

  private async fits(
    book: Book,
    mailbox: MailboxName,
    mail: Amount,
  ): Promise<"fits" | "full" | "undecided"> {
    const { clock, members } = this.options;
    if (book.usedUntilMs > clock.monotonicMs() && withinShare(book, mail, members())) return "fits";
    if (!(await this.ask(book, mailbox))) return "undecided";
    return within(book.quota, plus(plus(book.used, book.taken), mail)) ? "fits" : "full";
  }

  /** One question at a time for a mailbox, however many mails wait for its answer. */
  private ask(book: Book, mailbox: MailboxName): Promise<boolean> {
    const asking = book.asking ?? this.askNow(book, mailbox);
    book.asking = asking;
    return asking;
  }

  private async askNow(book: Book, mailbox: MailboxName): Promise<boolean> {
    book.takenSince = book.underWay;
    try {
      const used = await this.options.usageOf(mailbox);
      if (!used) return false;
      book.used = used;
      book.taken = book.takenSince;
      book.usedUntilMs = this.options.clock.monotonicMs() + rememberedMs;
      return true;
    } finally {
      book.asking = undefined;
    }
  }

  private bookFor(mailbox: MailboxName, quota: Quota): Book {
    const book = this.books.get(mailbox) ?? {
      quota,
      used: nothing,
      usedUntilMs: Number.NEGATIVE_INFINITY,
      taken: nothing,
      underWay: nothing,
      asking: undefined,
      takenSince: nothing,
    };
    book.quota = quota;
    this.books.delete(mailbox);
    this.books.set(mailbox, book);
    if (this.books.size > booksMax) {
      const [oldest] = this.books.keys();
      if (oldest !== undefined) this.books.delete(oldest);
    }
    return book;
  }
}

export function isUnbounded({ octets, messages }: Quota): boolean {
  return octets === undefined && messages === undefined;
}

function within({ octets, messages }: Quota, amount: Amount): boolean {
  return amount.octets <= (octets ?? Infinity) && amount.messages <= (messages ?? Infinity);
}

/** Whether what this node took on a remembered answer, and this mail, is its part of the room. */
function withinShare({ quota, used, taken }: Book, mail: Amount, members: number): boolean {
  const part = (bound: number | undefined, held: number): number =>
    bound === undefined ? Infinity : Math.max(0, bound - held) / members;
  const { octets, messages } = plus(taken, mail);
  return (
    octets <= part(quota.octets, used.octets) && messages <= part(quota.messages, used.messages)
  );
}

const plus = (a: Amount, b: Amount): Amount => ({
  octets: a.octets + b.octets,
  messages: a.messages + b.messages,
});

const minus = (a: Amount, b: Amount): Amount => ({
  octets: a.octets - b.octets,
  messages: a.messages - b.messages,
});
