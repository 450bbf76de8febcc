/** What a hostile relay may do to mails and sessions, how often, and how often it has. */
import { createHash } from "node:crypto";
import { createDice, type Dice } from "../../../src/drill/dice.js";

/** Of one mail: at most one of these. */
export const mailFaults = [
  /** Taken with a 250 of somebody else's mail server, and thrown away. */
  "dropped",
  /** Taken with such a 250 and handed on at once: the ring's word about it is lost. */
  "word lost",
  "doubled",
  /** Taken, and handed on later, behind others. */
  "delayed",
  "cut in DATA",
  /** Handed on, and no reply. */
  "cut, taken",
  /** Neither handed on nor replied to. */
  "cut, lost",
  "slow reply",
  /** 451, 421. */
  "greylisted",
  /** A report that it waits, but it is handed on. */
  "bounced: delayed",
  /** A report that it failed for now, and it did. */
  "bounced: for now",
  /** A report that it failed for good, quoting a mail that is not of this sender. */
  "bounced: forged",
] as const;

/** Of one session. */
export const sessionFaults = [
  "cut at login",
  "cut in RETR",
  "cut at DELE",
  /** The maildrop never saw the QUIT: nothing is deleted. */
  "QUIT lost",
  /** It did, and its answer is lost. */
  "QUIT unanswered",
] as const;

export const otherFaults = [
  "rewritten",
  /** 552 beyond a limit that changes. */
  "too large",
  /** Taken, and bounced because of its size. */
  "bounced: too large",
] as const;

export type MailFault = (typeof mailFaults)[number];
export type SessionFault = (typeof sessionFaults)[number];
export type Fault = MailFault | SessionFault | (typeof otherFaults)[number];

/** For whom a mail is: what is for the ring has its word in the reply. */
export type Addressee = "control" | "broker" | "peer";

export type Chances = Readonly<{
  control: Partial<Record<MailFault, number>>;
  broker: Partial<Record<MailFault, number>>;
  peer: Partial<Record<MailFault, number>>;
  session: Partial<Record<SessionFault, number>>;
  rewritten: number;
  /** Octets of a mail that one draws from for the limit, which holds for `sizeMails` mails. */
  sizesMax: readonly number[];
  sizeMails: number;
  delayMaxMs: number;
  slowMaxMs: number;
}>;

/** The fate of one mail. */
export interface Fate {
  readonly fault: MailFault | undefined;
  readonly isRewritten: boolean;
  readonly sizeMax: number;
  /** All that is chosen later for this mail. */
  readonly dice: Dice;
}

/** The same seed has the same in store for the nth mail of a sender to an addressee. */
export class Fates {
  readonly done = new Map<Fault, number>();
  readonly #counts = new Map<string, number>();
  #stopped = false;

  constructor(
    private readonly seed: number,
    private readonly chances: Chances,
  ) {}

  /** From now on all passes untouched. */
  stop(): void {
    this.#stopped = true;
  }

  note(fault: Fault): void {
    this.done.set(fault, (this.done.get(fault) ?? 0) + 1);
  }

  get delayMaxMs(): number {
    return this.chances.delayMaxMs;
  }

  get slowMaxMs(): number {
    return this.chances.slowMaxMs;
  }

  ofMail(from: string, to: string, addressee: Addressee): Fate {
    const line = `${from} ${to}`;
    const count = this.#next(line);
    const dice = this.#diceFor(`${line} ${count}`);
    const span = this.#diceFor(`size ${line} ${Math.floor(count / this.chances.sizeMails)}`);
    const fault = this.#stopped ? undefined : draw(this.chances[addressee], dice);
    return {
      fault,
      isRewritten: !this.#stopped && dice.chance(this.chances.rewritten),
      // Questions to the ring can't be cut any smaller.
      sizeMax:
        this.#stopped || addressee === "control" ? Infinity : span.pick(this.chances.sizesMax),
      dice,
    };
  }

  /** Asked at each of a session's steps where it could be done; undefined: it is not. */
  ofSession(session: string, fault: SessionFault): Dice | undefined {
    if (this.#stopped) return undefined;
    const line = `${session} ${fault}`;
    const dice = this.#diceFor(`${line} ${this.#next(line)}`);
    return dice.chance(this.chances.session[fault] ?? 0) ? dice : undefined;
  }

  #next(line: string): number {
    const count = this.#counts.get(line) ?? 0;
    this.#counts.set(line, count + 1);
    return count;
  }

  #diceFor(name: string): Dice {
    const digest = createHash("sha256").update(`${this.seed} ${name}`).digest();
    return createDice(digest.readUInt32BE(0));
  }
}

function draw<F extends string>(chances: Partial<Record<F, number>>, dice: Dice): F | undefined {
  let at = dice.next();
  for (const [fault, chance] of Object.entries(chances) as [F, number][]) {
    if (at < chance) return fault;
    at -= chance;
  }
  return undefined;
}
