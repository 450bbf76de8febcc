/**
 * How much a client may ask for that leads nowhere. A mail that is taken begins a new count, so a
 * connection that is of use may stay as long as it likes. Pure.
 */
import type { SmtpLimits } from "./limits.js";
import { replies, type Reply } from "./replies.js";

type PatienceLimits = Pick<
  SmtpLimits,
  "commandsPerMailMax" | "errorsPerMailMax" | "commandsBeforeAuthMax"
>;

export class Patience {
  readonly #limits: PatienceLimits;
  #commands = 0;
  #errors = 0;
  #commandsBeforeAuth = 0;

  constructor(limits: PatienceLimits) {
    this.#limits = limits;
  }

  /** A command came. Returns the last reply, when it was one too many. */
  command({ needsAuth }: { readonly needsAuth: boolean }): Reply | undefined {
    this.#commands += 1;
    if (needsAuth) this.#commandsBeforeAuth += 1;
    const { commandsPerMailMax, commandsBeforeAuthMax, errorsPerMailMax } = this.#limits;
    if (this.#commandsBeforeAuth > commandsBeforeAuthMax) return replies.tooManyCommandsBeforeAuth;
    if (this.#commands > commandsPerMailMax) return replies.tooManyCommands;
    return this.#errors >= errorsPerMailMax ? replies.tooManyErrors : undefined;
  }

  replied(code: number): void {
    if (code >= 500) this.#errors += 1;
  }

  mailTaken(): void {
    this.#commands = 0;
    this.#errors = 0;
  }
}
