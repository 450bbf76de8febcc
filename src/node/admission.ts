/** How members let others in: join tokens, each good once in the whole ring. */
import type { Registers } from "../replication/registers.js";
import type { Clock } from "../replication/ports.js";
import type { Enrollment } from "../rpc/index.js";
import {
  fingerprintOf,
  formatJoinToken,
  makeJoinToken,
  readCa,
  type RingCredentials,
  secretHash,
} from "../secrets/index.js";
import { AdminError } from "../shared/admin.js";
import type { Log } from "../shared/log.js";

export interface AdmissionOptions {
  readonly credentials: Pick<RingCredentials, "caPem">;
  readonly secretsFolder: string;
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  readonly log: Log;
}

/** The register `token:<SHA-256 of the secret>`. */
interface TokenState {
  readonly expiresAtMs: number;
  /** UUID of the member that came in with it. */
  readonly usedBy?: string;
}

const secretOctets = 32;
const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const unknownToken = "this ring does not know the token; make one with: chord token";
const undecided = "too few members answer to tell whether the token is good; try again later";

export class Admission implements Enrollment {
  constructor(private readonly options: AdmissionOptions) {}

  get caPem(): string {
    return this.options.credentials.caPem;
  }

  get secretsFolder(): string {
    return this.options.secretsFolder;
  }

  /** @throws AdminError */
  async createToken(ttlMs: number): Promise<{ token: string; expiresAtMs: number }> {
    const fingerprint = fingerprintOf(this.caPem);
    if (fingerprint === undefined) throw new AdminError("internal", "the CA is no certificate");
    const token = makeJoinToken(fingerprint);
    const expiresAtMs = this.options.clock.wallMs() + ttlMs;
    const value: TokenState = { expiresAtMs };
    const answer = await this.options.registers.change(registerOf(token.secret), () => ({
      set: { value },
      result: null,
    }));
    if (answer.kind !== "changed") {
      throw new AdminError("unavailable", "too few members answer to keep a token; try again");
    }
    return { token: formatJoinToken(token), expiresAtMs };
  }

  async redeem(secret: Buffer, by: { readonly uuid: string; readonly from: string }) {
    const { secretsFolder, log } = this.options;
    // Of strangers; what is not of the right shape is not even logged.
    if (secret.length !== secretOctets || !uuidShape.test(by.uuid)) {
      return { refusal: "that is no join token of a member" };
    }
    const refusal = await this.spend(secret, by.uuid);
    if (refusal !== undefined) {
      log.warn({ ...by, reason: refusal }, "join token refused");
      return { refusal };
    }
    const ca = await readCa(secretsFolder);
    if (ca === undefined) throw new Error(`${secretsFolder} has no CA`);
    log.info(by, "join token redeemed");
    return { caKeyPem: ca.keyPem };
  }

  /** Why not, or undefined when the token was good and is used up now. */
  private async spend(secret: Buffer, uuid: string): Promise<string | undefined> {
    const { registers, clock } = this.options;
    const register = registerOf(secret);
    // Strangers may guess as they like: a read leaves nothing behind, a change would.
    const known = await registers.read(register);
    if (known.kind === "absent") return unknownToken;
    if (known.kind === "undecided") return undecided;
    const answer = await registers.change(register, (value) => {
      const state = value as TokenState | null;
      if (state === null) return { result: unknownToken };
      if (state.usedBy !== undefined) {
        return { result: `the token was used already, by the member ${state.usedBy}` };
      }
      if (clock.wallMs() > state.expiresAtMs) {
        return { result: `the token expired at ${new Date(state.expiresAtMs).toISOString()}` };
      }
      return { set: { value: { ...state, usedBy: uuid } }, result: undefined };
    });
    return answer.kind === "undecided" ? undecided : answer.result;
  }
}

const registerOf = (secret: Buffer): string => `token:${secretHash(secret)}`;
