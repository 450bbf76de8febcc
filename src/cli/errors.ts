/** What the exit codes mean; documented in the README. */
export const exitCodes = {
  ok: 0,
  /** It was understood, and can't be done now: port taken, nobody answers, account exists. */
  refused: 1,
  /** The command line or the conf file is wrong. */
  usage: 2,
  /** A member ended in a state that it must not go on in (EX_SOFTWARE of sysexits). */
  failed: 70,
  /** 128 + SIGINT: the user cancelled. */
  cancelled: 130,
} as const;

/** Ends the command. `message` is one line that says what to do. */
export class CliError extends Error {
  override readonly name = "CliError";
  constructor(
    message: string,
    readonly exitCode: number = exitCodes.refused,
  ) {
    super(message);
  }
}

export function usageError(message: string): CliError {
  return new CliError(message, exitCodes.usage);
}

const lineCharsMax = 1_000;

/** Text of unknown origin as one printable line. */
export function oneLine(text: string): string {
  const flat = text.replaceAll(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
  return flat.length > lineCharsMax ? `${flat.slice(0, lineCharsMax)}…` : flat;
}
