/** Octets for fuzzers: real ones, changed; and where a network might cut them. */
import fc from "fast-check";

type Edit =
  | { readonly kind: "flip"; readonly at: number; readonly bit: number }
  | { readonly kind: "set"; readonly at: number; readonly octet: number }
  | { readonly kind: "cut"; readonly at: number; readonly octets: number }
  | {
      readonly kind: "repeat";
      readonly at: number;
      readonly octets: number;
      readonly times: number;
    }
  | { readonly kind: "move"; readonly at: number; readonly octets: number; readonly to: number }
  | { readonly kind: "end"; readonly at: number }
  | { readonly kind: "token"; readonly at: number; readonly token: string };

const place = fc.nat(100_000);

function edits(tokens: readonly string[]): fc.Arbitrary<Edit> {
  const octets = fc.nat(60);
  const token = fc.constantFrom(...(tokens.length === 0 ? [""] : tokens));
  return fc.oneof(
    fc.record({ kind: fc.constant("flip" as const), at: place, bit: fc.nat(7) }),
    fc.record({ kind: fc.constant("set" as const), at: place, octet: fc.nat(255) }),
    fc.record({ kind: fc.constant("cut" as const), at: place, octets }),
    fc.record({
      kind: fc.constant("repeat" as const),
      ...{ at: place, octets, times: fc.integer({ min: 2, max: 30 }) },
    }),
    fc.record({ kind: fc.constant("move" as const), at: place, octets, to: place }),
    fc.record({ kind: fc.constant("end" as const), at: place }),
    fc.record({ kind: fc.constant("token" as const), at: place, token }),
  );
}

function edited(octets: Buffer, edit: Edit): Buffer {
  const at = octets.length === 0 ? 0 : edit.at % octets.length;
  switch (edit.kind) {
    case "flip":
    case "set": {
      if (octets.length === 0) return octets;
      const copy = Buffer.from(octets);
      const before = copy[at] ?? 0;
      copy[at] = edit.kind === "flip" ? before ^ (1 << edit.bit) : edit.octet;
      return copy;
    }
    case "cut":
      return Buffer.concat([octets.subarray(0, at), octets.subarray(at + edit.octets)]);
    case "repeat": {
      const piece = octets.subarray(at, at + edit.octets);
      const pieces = Array.from({ length: edit.times }, () => piece);
      return Buffer.concat([octets.subarray(0, at), ...pieces, octets.subarray(at)]);
    }
    case "move": {
      const piece = octets.subarray(at, at + edit.octets);
      const to = octets.length === 0 ? 0 : edit.to % octets.length;
      return Buffer.concat([octets.subarray(0, to), piece, octets.subarray(to)]);
    }
    case "end":
      return octets.subarray(0, at);
    case "token": {
      const token = Buffer.from(edit.token, "latin1");
      return Buffer.concat([octets.subarray(0, at), token, octets.subarray(at)]);
    }
  }
}

/** Real octets with a few changes; `tokens` (latin1) are what the parser knows words for. */
export function mutated(
  bases: readonly (string | Buffer)[],
  tokens: readonly string[] = [],
  { editsMax = 8, octetsMax = 64 * 1024 } = {},
): fc.Arbitrary<Uint8Array> {
  const buffers = bases.map((base) => (typeof base === "string" ? Buffer.from(base) : base));
  return fc
    .tuple(fc.constantFrom(...buffers), fc.array(edits(tokens), { maxLength: editsMax }))
    .map(([base, changes]) => {
      const all = changes.reduce((octets, edit) => edited(octets, edit), base);
      return new Uint8Array(all.subarray(0, octetsMax));
    });
}

/** A text of tokens and chance, latin1. */
export function tokenSoup(tokens: readonly string[], maxLength = 40): fc.Arbitrary<Uint8Array> {
  const word = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...tokens) },
    {
      weight: 1,
      arbitrary: fc
        .uint8Array({ maxLength: 4 })
        .map((octets) => Buffer.from(octets).toString("latin1")),
    },
  );
  return fc
    .array(word, { maxLength })
    .map((words) => new Uint8Array(Buffer.from(words.join(""), "latin1")));
}

/** Where octets are cut on their way; any number is taken modulo the length. */
export const cuts = fc.array(fc.nat(100_000), { maxLength: 12 });

/** The octets in pieces, copies, none of them empty. */
export function cutAt(octets: Uint8Array, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((one) => (octets.length === 0 ? 0 : one % octets.length)))];
  places.sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...places, octets.length]) {
    if (to > from) pieces.push(Buffer.from(octets.subarray(from, to)));
    from = Math.max(from, to);
  }
  return pieces;
}

export const latin1 = (octets: Uint8Array): string => Buffer.from(octets).toString("latin1");
