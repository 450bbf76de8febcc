/** Digests of sets of mailboxes and registers, by bucket, so that equal ones cost little to compare. */
import { createHash } from "node:crypto";
import { limits } from "../shared/limits.js";
import type { RegisterState } from "../shared/operation.js";
import { isZero } from "./ballot.js";
import type { CatalogLine, CatalogPage, NameDigest, RegisterLine } from "./peer-methods.js";
import type { CatalogEntry } from "./ports.js";

export const bucketCount = 256;
const modulus = 1n << 128n;

/** The bucket of a name: the first octet of its SHA-1. */
export class Buckets {
  private byName = new Map<string, number>();

  constructor(private readonly rememberedMax = 50_000) {}

  of(name: string): number {
    let bucket = this.byName.get(name);
    if (bucket === undefined) {
      if (this.byName.size >= this.rememberedMax) this.byName = new Map();
      bucket = createHash("sha1").update(name).digest()[0] ?? 0;
      this.byName.set(name, bucket);
    }
    return bucket;
  }
}

const registerDigests = new WeakMap<RegisterState, bigint>();

/** Of what was accepted; what was promised differs between members at rest. */
function registerDigest(name: string, state: RegisterState): bigint {
  let digest = registerDigests.get(state);
  if (digest === undefined) {
    const { counter, proposer } = state.accepted;
    const hash = createHash("sha256").update(`${name}\0${counter}\0${proposer}`).digest("hex");
    digest = BigInt(`0x${hash.slice(0, 32)}`);
    registerDigests.set(state, digest);
  }
  return digest;
}

export interface Shared {
  readonly mailboxes: Iterable<CatalogEntry>;
  readonly registers: Iterable<readonly [string, RegisterState]>;
}

/** `bucketCount` digests of 32 hex digits. */
export function bucketDigests(buckets: Buckets, shared: Shared): readonly string[] {
  const sums = new Array<bigint>(bucketCount).fill(0n);
  const add = (name: string, digest: bigint): void => {
    const bucket = buckets.of(name);
    sums[bucket] = ((sums[bucket] ?? 0n) + digest) % modulus;
  };
  for (const entry of shared.mailboxes) add(entry.mailbox, BigInt(`0x${entry.digest}`));
  for (const [name, state] of shared.registers) {
    if (!isZero(state.accepted)) add(name, registerDigest(name, state));
  }
  return sums.map((sum) => sum.toString(16).padStart(32, "0"));
}

/**
 * The lines of the buckets in which `theirs` differ from ours, whole buckets from `firstBucket` on
 * until a page is full; the asker begins elsewhere the next time.
 */
export function differingLines(
  buckets: Buckets,
  shared: () => Shared,
  theirs: readonly string[],
  firstBucket: number,
): CatalogPage {
  const ours = bucketDigests(buckets, shared());
  const page = { mailboxes: [] as CatalogLine[], registers: [] as RegisterLine[] };
  const differing = ours.flatMap((digest, bucket) => (digest === theirs[bucket] ? [] : [bucket]));
  if (differing.length === 0) return { kind: "page", ...page, more: false };

  const byBucket = new Map(
    differing.map((bucket) => [
      bucket,
      { mailboxes: [] as CatalogLine[], registers: [] as RegisterLine[] },
    ]),
  );
  const { mailboxes: entries, registers: states } = shared();
  for (const entry of entries)
    byBucket.get(buckets.of(entry.mailbox))?.mailboxes.push(lineOf(entry));
  for (const [register, state] of states) {
    byBucket.get(buckets.of(register))?.registers.push({ register, state });
  }
  const rotated = [...byBucket].sort(([a], [b]) => order(a, firstBucket) - order(b, firstBucket));
  for (const [, lines] of rotated) {
    if (page.mailboxes.length + page.registers.length >= limits.pageEntriesMax) {
      return { kind: "page", ...page, more: true };
    }
    page.mailboxes.push(...lines.mailboxes);
    page.registers.push(...lines.registers);
  }
  return { kind: "page", ...page, more: false };
}

/**
 * Names and digests of the buckets in which `theirs` differ from ours, whole buckets from `from`
 * on until a page is full.
 */
export function linesOf(
  buckets: Buckets,
  shared: () => Shared,
  theirs: readonly string[],
  from: number,
): { differing: readonly number[]; lines: readonly NameDigest[]; next?: number } {
  const ours = bucketDigests(buckets, shared());
  const byBucket = linesByBucket(buckets, shared());
  const differing: number[] = [];
  const lines: NameDigest[] = [];
  for (let bucket = from; bucket < bucketCount; bucket += 1) {
    if (ours[bucket] === theirs[bucket]) continue;
    if (lines.length >= limits.pageEntriesMax) return { differing, lines, next: bucket };
    differing.push(bucket);
    lines.push(...(byBucket.get(bucket) ?? []));
  }
  return { differing, lines };
}

export function linesByBucket(buckets: Buckets, shared: Shared): Map<number, NameDigest[]> {
  const byBucket = new Map<number, NameDigest[]>();
  const add = (name: string, line: NameDigest): void => {
    const bucket = buckets.of(name);
    const lines = byBucket.get(bucket);
    if (lines) lines.push(line);
    else byBucket.set(bucket, [line]);
  };
  for (const { mailbox, digest } of shared.mailboxes) {
    add(mailbox, { name: `m ${mailbox}`, digest });
  }
  for (const [register, state] of shared.registers) {
    if (isZero(state.accepted)) continue;
    add(register, { name: `r ${register}`, digest: registerDigest(register, state).toString(16) });
  }
  return byBucket;
}

const order = (bucket: number, first: number): number =>
  (bucket - first + bucketCount) % bucketCount;

export const lineOf = (entry: CatalogEntry): CatalogLine => ({
  mailbox: entry.mailbox,
  digest: entry.digest,
  pending: entry.pending,
  messages: entry.messages,
  octets: entry.octets,
});
