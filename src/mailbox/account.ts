/** What the register of an account's name holds. */
import type { ScramVerifier } from "../sasl/index.js";

/** What an account consists of, besides its name. */
export interface AccountFields {
  /** PHC string, Argon2id. */
  readonly passwordHash: string;
  readonly createdAtMs: number;
  /** For SCRAM-SHA-256; made with the password. */
  readonly scram?: ScramVerifier;
  readonly appPasswords?: readonly AppPassword[];
  /** Nobody logs in, and no mail is taken. */
  readonly disabled?: true;
  /** Absent: the ring's default. */
  readonly quota?: Quota;
  /** Session tokens of an earlier generation are void. Absent: 0. */
  readonly generation?: number;
}

/** A password of its own for one program, to be revoked alone. */
export interface AppPassword {
  readonly id: string;
  /** What the user calls it. */
  readonly label: string;
  /** Of a random password of 128 bits: a fast hash is enough (base64 SHA-256). */
  readonly hash: string;
  readonly createdAtMs: number;
}

/** Absent: no bound. */
export interface Quota {
  readonly octets?: number;
  readonly messages?: number;
}

export interface Account extends AccountFields {
  /** Changes whenever anything of the account does. */
  readonly version: string;
}
