/**
 * Boundaries that a mail declares: an upper bound of how deep its parts are nested, got without
 * parsing, so that a parser is not given what would have it crawl.
 */
const declaration = /boundary\s{0,8}=/gi;
/** As long as a declaration may be. */
const overlap = 17;

/** Takes the mail piece by piece; answers the declarations so far. */
export function boundaryCounter(): (piece: Buffer) => number {
  let count = 0;
  let tail = "";
  return (piece) => {
    const text = tail + piece.toString("latin1");
    for (const match of text.matchAll(declaration)) {
      // One that lies in the tail as a whole was counted with the piece before.
      if (match.index + match[0].length > tail.length) count += 1;
    }
    tail = text.slice(-overlap);
    return count;
  };
}
