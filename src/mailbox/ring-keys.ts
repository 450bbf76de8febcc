/**
 * What the ring keeps secret together: the keys that sign session tokens, and the secret behind
 * the salts of users that are not there. Made once, by agreement: the first writer wins.
 *
 * The register lies in the journals of its group (mode 0600, as all data) and in the memory of
 * every member: whoever reads a member's disk can make tokens, as he can read the mail there.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { Clock, Randomness } from "../replication/ports.js";
import type { Registers } from "../replication/registers.js";

const keysRegister = "keys:sessions";

/** A member that a rotation could not be told to signs with the former key for so long. */
const rememberedMs = 60_000;
/** A token of an unknown key makes a member look for it, so seldom. */
const searchedMs = 1_000;
export const signingKeysMax = 8;

/** What stands in front of the 32 octets of a private key (RFC 8410 §7). */
const ed25519Pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** Ed25519, RFC 8037: base64url. */
interface StoredKey {
  readonly kid: string;
  readonly d: string;
  readonly x: string;
  readonly createdAtMs: number;
  /** Signs no more; verifies as long as tokens of it live. */
  readonly retiredAtMs?: number;
}

interface StoredKeys {
  /** Of the proposal that made it. */
  readonly nonce: string;
  /** Base64, 32 octets. */
  readonly saltSecret: string;
  /** The first one signs. */
  readonly keys: readonly StoredKey[];
}

export interface RingKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly retiredAtMs: number | undefined;
}

export interface KeyRing {
  readonly saltSecret: Buffer;
  readonly keys: readonly RingKey[];
}

export type Rotation =
  | { readonly kind: "rotated"; readonly kid: string }
  /** So many were made of late that tokens of the oldest are still alive. */
  | { readonly kind: "full" }
  | { readonly kind: "undecided" };

interface RingKeysOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  readonly random: Randomness;
  /** How long tokens of a key live. */
  readonly tokenMs: number;
  /** Tells all members, this one too, to `forget`. */
  readonly announceChanged: (register: string) => Promise<void>;
}

export class RingKeys {
  private remembered: { readonly ring: KeyRing; readonly atMs: number } | undefined;
  private reading: Promise<KeyRing | undefined> | undefined;
  private searchedAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: RingKeysOptions) {}

  /** The keys, made if there are none yet; undefined when too few members answer. */
  async current(): Promise<KeyRing | undefined> {
    const { remembered } = this;
    if (remembered && this.nowMs() - remembered.atMs < rememberedMs) return remembered.ring;
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  /** A key that others may have made a moment ago. */
  async find(kid: string): Promise<RingKey | "unknown" | undefined> {
    const byId = (ring: KeyRing): RingKey | undefined => ring.keys.find((key) => key.kid === kid);
    const ring = await this.current();
    const known = ring && byId(ring);
    if (!ring || known) return known;
    if (this.nowMs() - this.searchedAtMs < searchedMs) return "unknown";
    this.searchedAtMs = this.nowMs();
    this.forget(keysRegister);
    const again = await this.current();
    return again && (byId(again) ?? "unknown");
  }

  forget(register: string): void {
    if (register === keysRegister) this.remembered = undefined;
  }

  /** Makes a new key that signs from now on. `dropOld`: tokens of all others are void at once. */
  async rotate(options: { readonly dropOld: boolean }): Promise<Rotation> {
    const made = this.makeKey();
    const nonce = this.nonce();
    const { clock, registers, announceChanged } = this.options;
    const answer = await registers.change(keysRegister, (before) => {
      const present = (before as StoredKeys | null) ?? this.makeKeys();
      if (present.nonce === nonce) return { result: "rotated" as const };
      const retiredAtMs = clock.wallMs();
      const old = (options.dropOld ? [] : present.keys)
        .map((key) => ({ ...key, retiredAtMs: key.retiredAtMs ?? retiredAtMs }))
        .filter((key) => key.retiredAtMs + this.options.tokenMs > retiredAtMs);
      if (old.length >= signingKeysMax) return { result: "full" as const };
      return {
        set: { value: { ...present, nonce, keys: [made, ...old] } },
        result: "rotated" as const,
      };
    });
    await announceChanged(keysRegister);
    if (answer.kind === "undecided") return { kind: "undecided" };
    return answer.result === "full" ? { kind: "full" } : { kind: "rotated", kid: made.kid };
  }

  private async read(): Promise<KeyRing | undefined> {
    const { registers } = this.options;
    const atMs = this.nowMs();
    const answer = await registers.read(keysRegister, { alone: true });
    if (answer.kind === "value" && answer.value) return this.remember(answer.value, atMs);
    if (answer.kind === "undecided") return undefined;
    const made = this.makeKeys();
    const change = await registers.change(keysRegister, (before) =>
      before ? { result: null } : { set: { value: made }, result: null },
    );
    return change.kind === "undecided" ? undefined : this.remember(change.value, atMs);
  }

  private remember(value: unknown, atMs: number): KeyRing {
    const { saltSecret, keys } = value as StoredKeys;
    const ring = { saltSecret: Buffer.from(saltSecret, "base64"), keys: keys.map(keyOf) };
    this.remembered = { ring, atMs };
    return ring;
  }

  private makeKeys(): StoredKeys {
    const saltSecret = this.options.random.bytes(32).toString("base64");
    return { nonce: this.nonce(), saltSecret, keys: [this.makeKey()] };
  }

  private makeKey(): StoredKey {
    const seed = this.options.random.bytes(32);
    const key = Buffer.concat([ed25519Pkcs8, seed]);
    const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
    const { d = "", x = "" } = privateKey.export({ format: "jwk" });
    return { kid: this.nonce(), d, x, createdAtMs: this.options.clock.wallMs() };
  }

  private nonce(): string {
    return this.options.random.bytes(12).toString("base64url");
  }

  private nowMs(): number {
    return this.options.clock.monotonicMs();
  }
}

function keyOf({ kid, d, x, retiredAtMs }: StoredKey): RingKey {
  const privateKey = createPrivateKey({
    key: { kty: "OKP", crv: "Ed25519", d, x },
    format: "jwk",
  });
  return { kid, privateKey, publicKey: createPublicKey(privateKey), retiredAtMs };
}
