/** What the programs themselves know, in files that are only appended to: it survives their `kill -9`. */
import { closeSync, existsSync, fdatasyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a sender knows of its nth message. */
export type SentLine =
  /** About to be given to `send`. */
  | readonly ["try", number]
  /** `send` has resolved. */
  | readonly ["sent", number, id: string]
  /** Its sender was told that it is dead. */
  | readonly ["dead", id: string, why: string];

export interface Effect {
  /** Which process of the receiver. */
  readonly life: number;
  readonly id: string;
  readonly from: string;
  readonly n: number;
  readonly stream: string;
  readonly sequence: number;
  /** Where it was consumed: `inbox`, or a queue. */
  readonly source: string;
  readonly isWhole: boolean;
}

export type ConsumedLine =
  /** The application has done what the message asks for; it comes before the acknowledgement. */
  | readonly ["effect", Effect]
  /** Handed out, and known to the application already: it only acknowledges. */
  | readonly ["again", Effect]
  /** `ack()` has resolved. */
  | readonly ["acked", id: string];

export class Book<L extends SentLine | ConsumedLine> {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "a", 0o600);
  }

  /** Durable when it returns. */
  write(line: L): void {
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
    fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export const sentBook = (folder: string): string => join(folder, "sent");
export const consumedBook = (folder: string): string => join(folder, "consumed");

/** Without a last line that was never finished. */
export function readBook<L extends SentLine | ConsumedLine>(path: string): L[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.slice(0, -1).map((line) => JSON.parse(line) as L);
}
