/** The only place that writes to the terminal, besides a member's log. */
import { styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

export interface Output {
  /** A line of the answer, on stdout. */
  line(text?: string): void;
  /** Octets of the answer, on stdout. Rejects when nobody reads them any more. */
  write(octets: Uint8Array): Promise<void>;
  /** A line about the command, on stderr: errors, progress. */
  note(text: string): void;
  /** As `note`, and the cursor stays on the line. */
  prompt(text: string): void;
  /** Colours `text` when people see it and want colours. */
  style(style: Style, text: string): string;
  readonly isTerminal: boolean;
  /** A terminal that has not asked for plain text (NO_COLOR, TERM=dumb). */
  readonly color: boolean;
}

interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
}

export function createOutput({ stdout, stderr, env }: Streams): Output {
  // A reader that has seen enough (`chord status | head -1`) is no error.
  for (const stream of [stdout, stderr]) stream.on("error", () => undefined);
  const isTerminal = stdout.isTTY;
  const color = isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  return {
    line: (text = "") => void stdout.write(`${text}\n`),
    write: (octets) =>
      new Promise((resolve, reject) => {
        stdout.write(octets, (error) => (error ? reject(error) : resolve()));
      }),
    note: (text) => void stderr.write(`${text}\n`),
    prompt: (text) => void stderr.write(text),
    // The decision is ours: styleText would look at the streams again.
    style: (style, text) => (color ? styleText(style, text) : text),
    isTerminal,
    color,
  };
}
