/** What a fuzzer is: inputs from a seed, and a property that each of them must have. */
import type fc from "fast-check";

/**
 * One parser under fire. `run` throws when the input shows a bug; the oracle is in it. Inputs are
 * JSON values and `Uint8Array`s, so that a failing one can be kept in a file (see `corpus.ts`).
 */
export interface Fuzzer<Input = unknown> {
  readonly name: string;
  readonly inputs: fc.Arbitrary<Input>;
  readonly run: (input: Input) => void | Promise<void>;
  /** Of the short run in `npm test`. */
  readonly testRuns: number;
  /** Servers and files that the runs share; called once, before the first run. */
  readonly open?: () => Promise<void>;
  readonly close?: () => Promise<void>;
}

/** Forgets the type of the inputs, so that fuzzers fit one list. */
export function fuzzer<Input>(definition: Fuzzer<Input>): Fuzzer {
  return definition as unknown as Fuzzer;
}

/** An oracle's complaint. */
export function check(condition: boolean, complaint: () => string): asserts condition {
  if (!condition) throw new Error(complaint());
}
