/**
 * How much a mailbox may hold. The group of a mailbox knows how much it does hold; a front node
 * asks a majority of it and remembers the answer for a while, counting what it takes itself.
 *
 * Nodes do not wait for each other, so a quota can be overshot, by bounds. On a remembered answer a
 * node takes no more than its share of a tenth of what was free then; for the rest it asks anew. So
 * mails that come one after the other, through whatever nodes, overshoot by a tenth of the quota at
 * most; and of those that are under way through several nodes at the same moment, each node takes
 * what is free: (members - 1) times that can come on top.
 */
import type { Clock } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Quota } from "./account.js";

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
      bounded.map(({ mailbox, book, amount }) =>
        this.fits(book, mailbox, amount, () => {
          book.taken = plus(book.taken, amount);
          book.takenSince = plus(book.takenSince, amount);
          book.underWay = plus(book.underWay, amount);
          taken.push([book, amount]);
        }),
      ),
    );
    if (taken.length === bounded.length) return { end };
    end(false);
    return undefined;
  }

  /**
   * `take` is called unless it does not fit, in the same turn as that is decided: two mails never
   * get the room of one.
   */
  private async fits(
    book: Book,
    mailbox: MailboxName,
    mail: Amount,
    take: () => void = () => undefined,
  ): Promise<"fits" | "full" | "undecided"> {
    const { clock, members } = this.options;
    const isFresh = book.usedUntilMs > clock.monotonicMs();
    let answer: "fits" | "full" | "undecided" = "fits";
    if (!isFresh || !withinShare(book, mail, members())) {
      if (!(await this.ask(book, mailbox))) answer = "undecided";
      else if (!within(book.quota, plus(plus(book.used, book.taken), mail))) answer = "full";
    }
    if (answer !== "full") take();
    return answer;
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

function isUnbounded({ octets, messages }: Quota): boolean {
  return octets === undefined && messages === undefined;
}

function within({ octets, messages }: Quota, amount: Amount): boolean {
  return amount.octets <= (octets ?? Infinity) && amount.messages <= (messages ?? Infinity);
}

/** The part of the free room that all members together take without asking. */
const rememberedShare = 1 / 10;

/** Whether what this node took on a remembered answer, and this mail, is its part of that. */
function withinShare({ quota, used, taken }: Book, mail: Amount, members: number): boolean {
  const part = (bound: number | undefined, held: number): number =>
    bound === undefined ? Infinity : (Math.max(0, bound - held) * rememberedShare) / members;
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
