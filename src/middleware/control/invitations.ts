/** Invitations: each lets one user register, in the whole ring. As join tokens do for members. */
import { createHash } from "node:crypto";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import { AdminError } from "../../shared/admin.js";
import { controlLimits } from "./limits.js";
import { refuse, type Refusal, undecided } from "./refusal.js";

/** The register `invitation:<SHA-256 of the text>`. */
interface InvitationState {
  readonly expiresAtMs: number;
  /** Who registers with it: user and device key. Nobody else can use it from then on. */
  readonly usedBy?: string;
}

interface InvitationsOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly random: Randomness;
}

const shape = /^rpi_[A-Za-z0-9_-]{43}$/;
const registerOf = (text: string): string =>
  `invitation:${createHash("sha256").update(text).digest("hex")}`;
const unknown = (): Refusal => refuse("closed", "this ring does not know the invitation");

export class Invitations {
  constructor(private readonly options: InvitationsOptions) {}

  /** @throws AdminError */
  async create(
    ttlMs: number,
    count: number,
  ): Promise<{ invitations: string[]; expiresAtMs: number }> {
    if (!Number.isInteger(count) || count < 1 || count > controlLimits.invitationsMax) {
      const why = `make 1 to ${controlLimits.invitationsMax} invitations at a time`;
      throw new AdminError("invalid", why);
    }
    const { registers, clock, random } = this.options;
    const expiresAtMs = clock.wallMs() + ttlMs;
    const value: InvitationState = { expiresAtMs };
    const invitations: string[] = [];
    for (let made = 0; made < count; made += 1) {
      const text = `rpi_${random.bytes(32).toString("base64url")}`;
      const answer = await registers.change(registerOf(text), () => ({
        set: { value },
        result: null,
      }));
      if (answer.kind !== "changed") {
        throw new AdminError("unavailable", "too few members answer to keep it; try again");
      }
      invitations.push(text);
    }
    return { invitations, expiresAtMs };
  }

  /** Undefined when it is good, and used up by `user` now (or was before: who comes again gets in). */
  async spend(text: string, user: string): Promise<Refusal | undefined> {
    if (!shape.test(text)) return unknown();
    const { registers, clock } = this.options;
    // Strangers may guess as they like: a read leaves nothing behind, a change would.
    const known = await registers.read(registerOf(text));
    if (known.kind === "undecided") return undecided();
    if (known.kind === "absent") return unknown();
    const answer = await registers.change<Refusal | undefined>(registerOf(text), (value) => {
      const state = value as InvitationState | null;
      if (!state) return { result: unknown() };
      if (state.usedBy === user) return { result: undefined };
      if (state.usedBy !== undefined) {
        return { result: refuse("closed", "the invitation was used already") };
      }
      if (clock.wallMs() > state.expiresAtMs) {
        return { result: refuse("closed", "the invitation is over") };
      }
      return { set: { value: { ...state, usedBy: user } }, result: undefined };
    });
    return answer.kind === "undecided" ? undecided() : answer.result;
  }

  /** No account was made: it is good again. If that fails, then for the same user only. */
  async giveBack(text: string, user: string): Promise<void> {
    await this.options.registers.change(registerOf(text), (value) => {
      const state = value as InvitationState | null;
      if (state?.usedBy !== user) return { result: null };
      return { set: { value: { expiresAtMs: state.expiresAtMs } }, result: null };
    });
  }
}
