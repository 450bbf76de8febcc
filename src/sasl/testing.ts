/** A verifier for tests that knows one user, and keeps what it was asked. */
import type { ScramAnswer, Verifier } from "./mechanism.js";
import type { ScramVerifier } from "./scram-keys.js";

export type Outcome = "granted" | "denied" | "tempfail";

export interface Known {
  readonly username: string;
  readonly password?: string;
  readonly token?: string;
  readonly verifier?: ScramVerifier;
}

export class FakeVerifier implements Verifier<Outcome> {
  readonly denied = "denied";
  readonly asked: string[] = [];
  /** Instead of what it would find. */
  instead: Outcome | undefined;

  constructor(private readonly known: Known) {}

  outcome(result: Outcome): "granted" | "denied" | "other" {
    return result === "tempfail" ? "other" : result;
  }

  password(claim: { authorizationId: string; username: string; password: string }) {
    this.asked.push(`${claim.authorizationId}|${claim.username}|${claim.password}`);
    const { username, password } = this.known;
    return this.answer(claim.username === username && claim.password === password);
  }

  token({ authorizationId, token }: { authorizationId: string; token: string }) {
    this.asked.push(`${authorizationId}|${token}`);
    return this.answer(token === this.known.token);
  }

  async scram(claim: { authorizationId: string; username: string }): Promise<ScramAnswer<Outcome>> {
    this.asked.push(`${claim.authorizationId}|${claim.username}`);
    const { username, verifier } = this.known;
    if (!verifier) return { kind: "done", result: "tempfail" };
    const settle = (isProved: () => boolean): Promise<Outcome> =>
      this.answer(isProved() && claim.username === username);
    return { kind: "verifier", verifier, settle };
  }

  private answer(isRight: boolean): Promise<Outcome> {
    return Promise.resolve(this.instead ?? (isRight ? "granted" : "denied"));
  }
}
