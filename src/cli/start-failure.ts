/** Why a member did not start, in one line that says what to do. */
import type { NodeConfig } from "../config/index.js";
import { RingJoinError } from "../ring/ports.js";
import { CliError, exitCodes } from "./errors.js";

/** Errors of the rooms that are written for users; only their names are known here. */
const forUsers: readonly string[] = [
  "NodeStartError",
  "StoreLockedError",
  "StoreVersionError",
  "JoinRefusedError",
  "StoreFullError",
  "SecretError",
];

export function startFailure(error: unknown, config: NodeConfig): CliError {
  if (!(error instanceof Error)) return internal(String(error));
  if (error.name === "ListenError") {
    return new CliError(`${error.message}; choose another address with --addr`);
  }
  if (error instanceof RingJoinError) return new CliError(joinFailure(error));
  if (forUsers.includes(error.name)) return new CliError(error.message);
  return diskFailure(error, config) ?? internal(error.message);
}

function joinFailure({ code, message }: RingJoinError): string {
  switch (code) {
    case "no-entry":
      return `${message}; start a member there, or correct --entry`;
    case "duplicate-id":
      return `${message}; choose another --id`;
    case "wrong-ring":
    case "stopped":
      return message;
  }
}

function diskFailure(error: NodeJS.ErrnoException, config: NodeConfig): CliError | undefined {
  const where = error.path ?? config.dataDir;
  switch (error.code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new CliError(
        `${where} can't be written by this user (${error.code}); ` +
          `change its owner, or give another directory with --data`,
      );
    case "ENOTDIR":
    case "EEXIST":
      return new CliError(`${where} is not a directory; give another with --data`);
    case "ENOENT":
      return new CliError(`${where} can't be made (ENOENT); give another directory with --data`);
    case "ENOSPC":
    case "EDQUOT":
      return new CliError(
        `the disk of ${config.dataDir} is full; free some space, or give another with --data`,
      );
    case "EMFILE":
    case "ENFILE":
      return new CliError(`too many open files; raise the limit (ulimit -n) and start again`);
    default:
      return undefined;
  }
}

function internal(message: string): CliError {
  return new CliError(`the member could not start: ${message}`, exitCodes.failed);
}
