/** How many mails to fetch in one write, so that what waits to be read is bounded. */

/** Octets of mails that are asked for before one is read; a larger one comes alone. */
const batchOctets = 8 * 1024 * 1024;

/** Message numbers by LIST, cut into runs. */
export function batchesOf(
  listed: readonly (readonly [number: number, octets: number])[],
): readonly (readonly number[])[] {
  const batches: number[][] = [];
  let octets = Number.POSITIVE_INFINITY;
  for (const [number, size] of listed) {
    if (octets + size > batchOctets) {
      batches.push([]);
      octets = 0;
    }
    batches.at(-1)?.push(number);
    octets += size;
  }
  return batches;
}
