/** How a message that was opened gets to the client: RETR and TOP, RFC 1939 §5 and §7. */
import type { BodyReader } from "./body.js";
import type { Output, Sent } from "./output.js";
import { DotStuffer, needsNoStuffing, TopCutter, terminator } from "./stuffing.js";

/** Largest message in memory that is sent in one go. */
const SMALL_BODY_OCTETS = 64 * 1024;

/**
 * Most messages: small, in memory, sent without asking whether the client keeps up. False, and
 * nothing sent, when this is none of them. `lines`: TOP's.
 */
export function transmitWhole(
  body: BodyReader,
  lines: number | undefined,
  output: Output,
): boolean {
  const { whole } = body;
  if (whole === undefined || whole.length > SMALL_BODY_OCTETS) return false;
  const part = lines === undefined ? whole : new TopCutter(lines).push(whole);
  if (needsNoStuffing(part)) {
    output.write(part);
    output.write(terminator);
  } else {
    const stuffer = new DotStuffer();
    output.write(stuffer.push(part));
    output.write(stuffer.end());
  }
  return true;
}

/** Piece by piece, each one out of memory before the next is asked for. */
export async function transmitPieces(
  body: BodyReader,
  lines: number | undefined,
  output: Output,
): Promise<Sent | "bodyFailed"> {
  const stuffer = new DotStuffer();
  const cutter = lines === undefined ? undefined : new TopCutter(lines);
  try {
    while (cutter?.done !== true) {
      const piece = await body.next();
      if (piece === false) return "bodyFailed";
      if (piece === undefined) break;
      const part = cutter === undefined ? piece : cutter.push(piece);
      const sent = await output.send(stuffer.push(part));
      if (sent !== "done") return sent;
    }
  } finally {
    body.close();
  }
  output.write(stuffer.end());
  return "done";
}
