/** A hostile relay in front of a ring: one SMTP and one POP3 front per member, and no other way in. */
import type { ServerEndpoints } from "../../../src/ebm/index.js";
import { type Chances, type Fault, Fates } from "./faults.js";
import { Pop3Side } from "./pop3-side.js";
import { SmtpSide } from "./smtp-side.js";

/** A member, which may be another process on other ports after a restart. */
export interface Upstream {
  readonly smtp: string;
  readonly pop3: string;
}

export class HostileRelay {
  readonly #fates: Fates;
  readonly #end = new AbortController();
  readonly #fronts: { smtp: SmtpSide; pop3: Pop3Side }[] = [];
  readonly endpoints: ServerEndpoints[] = [];

  private constructor(seed: number, chances: Chances) {
    this.#fates = new Fates(seed, chances);
  }

  static async start(options: {
    readonly seed: number;
    readonly chances: Chances;
    readonly members: readonly Upstream[];
  }): Promise<HostileRelay> {
    const relay = new HostileRelay(options.seed, options.chances);
    for (const member of options.members) {
      const smtp = new SmtpSide({
        fates: relay.#fates,
        upstream: () => member.smtp,
        others: () => options.members.filter((one) => one !== member).map((one) => one.smtp),
        signal: relay.#end.signal,
      });
      const pop3 = new Pop3Side({ fates: relay.#fates, upstream: () => member.pop3 });
      relay.#fronts.push({ smtp, pop3 });
      relay.endpoints.push({ smtp: await smtp.listen(), pop3: await pop3.listen() });
    }
    return relay;
  }

  get faults(): ReadonlyMap<Fault, number> {
    return this.#fates.done;
  }

  get mails(): number {
    return this.#fronts.reduce((sum, { smtp }) => sum + smtp.mails, 0);
  }

  get octets(): number {
    return this.#fronts.reduce((sum, { smtp }) => sum + smtp.octets, 0);
  }

  /** From now on an honest one. */
  relent(): void {
    this.#fates.stop();
  }

  async close(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#fronts.flatMap(({ smtp, pop3 }) => [smtp.close(), pop3.close()]));
  }
}
