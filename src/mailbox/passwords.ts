/** Argon2id, and what makes it bearable for clients that poll. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { hash, verify } from "@node-rs/argon2";

/** OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 35 ms of CPU. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const rememberedMs = 5 * 60 * 1_000;
const rememberedMax = 10_000;
const runningMax = 2;
const waitingMax = 500;

export class PasswordsBusyError extends Error {
  override readonly name = "PasswordsBusyError";
}

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

  /** A PHC string. */
  hash(password: string): Promise<string> {
    return this.limited(() => hash(password, parameters));
  }

  /**
   * Checks a password. Without an account it works just as long and answers false. `version`
   * changes with the password: what was remembered of an earlier one does not count.
   * @throws PasswordsBusyError when too many checks are waiting
   */
  async check(
    name: string,
    password: string,
    account: { readonly passwordHash: string; readonly version: string } | undefined,
  ): Promise<boolean> {
    const proof = createHmac("sha256", this.key).update(`${name}\0${password}`).digest();
    const known = this.remembered.get(name);
    if (
      account &&
      known?.version === account.version &&
      known.untilMs > this.nowMs() &&
      timingSafeEqual(known.proof, proof)
    ) {
      return true;
    }
    this.dummy ??= hash(randomBytes(16).toString("hex"), parameters);
    const stored = account?.passwordHash ?? (await this.dummy);
    const matches = await this.limited(() => verify(stored, password));
    if (!account || !matches) return false;
    this.remember(name, { proof, version: account.version, untilMs: this.nowMs() + rememberedMs });
    return true;
  }

  private remember(name: string, entry: Remembered): void {
    this.remembered.delete(name);
    if (this.remembered.size >= rememberedMax) {
      for (const oldest of this.remembered.keys()) {
        this.remembered.delete(oldest);
        break;
      }
    }
    this.remembered.set(name, entry);
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
