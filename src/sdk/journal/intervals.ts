/** A set of whole numbers as ascending, disjoint, inclusive ranges: small where the numbers are dense. */
import type { Range } from "../../ebm/index.js";

export class Intervals {
  #ranges: [number, number][];

  constructor(ranges: readonly Range[] = []) {
    this.#ranges = ranges.map(([from, to]) => [from, to]);
  }

  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  /** All numbers from 1 up to it are in; 0 when 1 is not. */
  get through(): number {
    const first = this.#ranges[0];
    return first !== undefined && first[0] <= 1 ? first[1] : 0;
  }

  /** Index of the first range that ends at `value` or later. */
  #find(value: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.[1] ?? 0) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  has(value: number): boolean {
    const range = this.#ranges[this.#find(value)];
    return range !== undefined && range[0] <= value;
  }

  /** Every number from `from` to `to`. */
  covers(from: number, to: number): boolean {
    const range = this.#ranges[this.#find(from)];
    return range !== undefined && range[0] <= from && to <= range[1];
  }

  /** Answers how many numbers are new. */
  add(from: number, to = from): number {
    if (to < from) return 0;
    // Neighbours are joined: a range that ends just before `from` counts as touching.
    const start = this.#find(from - 1);
    let end = start;
    let low = from;
    let high = to;
    let known = 0;
    for (let range = this.#ranges[end]; range && range[0] <= to + 1; range = this.#ranges[end]) {
      known += Math.max(0, Math.min(range[1], to) - Math.max(range[0], from) + 1);
      low = Math.min(low, range[0]);
      high = Math.max(high, range[1]);
      end += 1;
    }
    this.#ranges.splice(start, end - start, [low, high]);
    return to - from + 1 - known;
  }

  /** The parts of `from` to `to` that are not in the set, ascending. */
  missing(from: number, to: number): Range[] {
    const holes: Range[] = [];
    let at = from;
    for (let index = this.#find(from); at <= to; index += 1) {
      const range = this.#ranges[index];
      if (range === undefined || range[0] > to) break;
      if (range[0] > at) holes.push([at, range[0] - 1]);
      at = range[1] + 1;
    }
    if (at <= to) holes.push([at, to]);
    return holes;
  }
}
