/** The disk is full. Nothing of the write was kept; later writes may succeed. */
export class StoreFullError extends Error {
  override readonly name = "StoreFullError";
}

/** The disk failed. This node acknowledges nothing any more until it is restarted. */
export class StoreFailedError extends Error {
  override readonly name = "StoreFailedError";
}

/** A body's bytes do not match its name. A replica has to serve and heal it. */
export class BodyCorruptError extends Error {
  override readonly name = "BodyCorruptError";
}
