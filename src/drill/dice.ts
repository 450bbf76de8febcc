/** Chance with a seed: the same seed chooses the same things in the same order. */
export interface Dice {
  /** At least 0, below 1. */
  next(): number;
  /** At least `min`, at most `max`. */
  whole(min: number, max: number): number;
  chance(probability: number): boolean;
  /** @throws RangeError for an empty list */
  pick<T>(from: readonly T[]): T;
  shuffled<T>(from: readonly T[]): T[];
}

/** mulberry32: small, fast, and good enough to choose victims by. */
export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  const shuffled = <T>(from: readonly T[]): T[] => {
    const rest = [...from];
    const drawn: T[] = [];
    while (rest.length > 0) drawn.push(...rest.splice(whole(0, rest.length - 1), 1));
    return drawn;
  };
  return {
    next,
    whole,
    shuffled,
    chance: (probability) => next() < probability,
    pick(from) {
      const picked = from[whole(0, from.length - 1)];
      if (picked === undefined) throw new RangeError("nothing to pick from");
      return picked;
    },
  };
}
