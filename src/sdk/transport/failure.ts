/**
 * A connection could not be made, broke, or its server can't serve just now: another may. What was
 * under way may have happened.
 */
export class TransportError extends Error {
  override readonly name = "TransportError";
}
