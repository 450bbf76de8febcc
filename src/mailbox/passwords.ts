/** Argon2id, and what makes it bearable for clients that poll. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { hash, verify } from "@node-rs/argon2";
import { prepareOpaque, scramVerifier } from "../sasl/index.js";
import type { Account, AccountFields } from "./account.js";

/** OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 35 ms of CPU. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/**
 * Of PBKDF2 (RFC 7677 §4 wants 4,096 at the least). Whoever steals a disk guesses at the weaker of
 * the two hashes, and this one is: a GPU makes some ten thousand of these a second, a thousand of the
 * Argon2id ones. More of them would be paid by every login of a client, a telephone among them.
 */
export const scramIterations = 100_000;
const scramSaltOctets = 16;
/** Since its last use, so that a client that polls stays known. */
const rememberedMs = 30 * 60 * 1_000;
const rememberedMax = 10_000;
const runningMax = 2;
const waitingMax = 500;

export class PasswordsBusyError extends Error {
  override readonly name = "PasswordsBusyError";
}

type Verifiable = Pick<Account, "passwordHash" | "version">;

interface Remembered {
  readonly proof: Buffer;
  readonly version: string;
  readonly untilMs: number;
}

export class Passwords {
  /** Of this process alone: what is remembered is worth nothing elsewhere. */
  private readonly key = randomBytes(32);
  private readonly remembered = new Map<string, Remembered>();
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  private dummy: Promise<string> | undefined;

  constructor(private readonly nowMs: () => number) {}

  /** What an account keeps of a password. @throws RangeError when it is none (`prepareOpaque`) */
  async credentials(password: string): Promise<Pick<AccountFields, "passwordHash" | "scram">> {
    const prepared = prepareOpaque(password);
    if (prepared === undefined) throw new RangeError("not a password");
    const salt = randomBytes(scramSaltOctets);
    const passwordHash = await this.limited(() => hash(prepared, parameters));
    const scram = await scramVerifier(prepared, { salt, iterations: scramIterations });
    return { passwordHash, scram };
  }

  /**
   * Whether this process has verified the very password lately. Costs microseconds. `version`
   * changes with the password: what was remembered of an earlier one does not count.
   */
  recognises(name: string, password: string, account: Verifiable | undefined): boolean {
    const known = this.remembered.get(name);
    if (!account || known?.version !== account.version || known.untilMs <= this.nowMs()) {
      return false;
    }
    if (!timingSafeEqual(known.proof, this.proofOf(name, password))) return false;
    this.remember(name, known.proof, account);
    return true;
  }

  /**
   * Checks a password, with one hash. Without an account it works just as long and answers false.
   * @throws PasswordsBusyError when too many checks are waiting
   */
  async check(name: string, password: string, account: Verifiable | undefined): Promise<boolean> {
    if (this.recognises(name, password, account)) return true;
    this.dummy ??= hash(randomBytes(16).toString("hex"), parameters);
    const stored = account?.passwordHash ?? (await this.dummy);
    // Nobody has the empty password.
    const prepared = prepareOpaque(password) ?? "";
    const matches = await this.limited(() => verify(stored, prepared));
    if (!account || !matches) return false;
    this.remember(name, this.proofOf(name, password), account);
    return true;
  }

  private proofOf(name: string, password: string): Buffer {
    return createHmac("sha256", this.key).update(`${name}\0${password}`).digest();
  }

  private remember(name: string, proof: Buffer, { version }: Verifiable): void {
    this.remembered.delete(name);
    if (this.remembered.size >= rememberedMax) {
      for (const oldest of this.remembered.keys()) {
        this.remembered.delete(oldest);
        break;
      }
    }
    this.remembered.set(name, { proof, version, untilMs: this.nowMs() + rememberedMs });
  }

  /** Each takes 19 MiB and a core: few at a time. */
  private async limited<T>(work: () => Promise<T>): Promise<T> {
    if (this.running >= runningMax) {
      if (this.waiting.length >= waitingMax)
        throw new PasswordsBusyError("too many logins at once");
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else this.running += 1;
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running -= 1;
    }
  }
}
