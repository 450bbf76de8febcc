import type { Logger } from "pino";
import { exitCodes, oneLine } from "./errors.js";
import type { Output } from "./output.js";

/** After a bug the state is unknown: nothing more is acknowledged, the process ends at once. */
export function endOnBug(output: Pick<Output, "note">, log: Pick<Logger, "fatal">): void {
  const end = (kind: string) => (error: unknown) => {
    log.fatal({ err: error }, kind);
    const text = error instanceof Error ? error.message : String(error);
    output.note(`chord: ended on an internal error (${kind}), please report it: ${oneLine(text)}`);
    process.exit(exitCodes.failed);
  };
  process.on("uncaughtException", end("uncaught exception"));
  process.on("unhandledRejection", end("unhandled rejection"));
}
