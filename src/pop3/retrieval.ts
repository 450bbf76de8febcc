import { BodyReader } from "./body.js";
import type { Input } from "./dialogue.js";
import type { Maildrop } from "./maildrop.js";
import type { Settings } from "./options.js";
import type { Output, Sent } from "./output.js";
import { transmitPieces, transmitWhole } from "./transmission.js";
import type { Waits } from "./waits.js";

/** RETR and TOP: a message is opened, then its reply's text is given, then it follows. */
export class Retrieval {
  readonly #session: string;
  readonly #waits: Waits;
  readonly #output: Output;
  readonly #settings: Settings;
  #body: BodyReader | undefined;
  /** Sent whole by RETR. */
  messages = 0;

  constructor(session: string, waits: Waits, output: Output, settings: Settings) {
    this.#session = session;
    this.#waits = waits;
    this.#output = output;
    this.#settings = settings;
  }

  async open(maildrop: Maildrop, index: number): Promise<Input> {
    const octets = maildrop.messages[index]?.octets ?? 0;
    const body = new BodyReader(octets, this.#waits, this.#settings.limits.readDeadlineMs);
    if (await body.open(maildrop, index)) {
      this.#body = body;
      return { kind: "opened", octets };
    }
    body.abandon();
    this.#failed(body, index);
    return { kind: "openFailed" };
  }

  /** Sends what was opened; `lines`: TOP's. */
  transmit(lines: number | undefined): Promise<Sent | "bodyFailed"> | Sent {
    const body = this.#body;
    if (body === undefined) throw new Error("nothing was opened");
    this.#body = undefined;
    if (!transmitWhole(body, lines, this.#output)) return this.#transmitPieces(body, lines);
    return this.#transmitted(lines);
  }

  async #transmitPieces(body: BodyReader, lines: number | undefined): Promise<Sent | "bodyFailed"> {
    const sent = await transmitPieces(body, lines, this.#output);
    if (sent === "bodyFailed") this.#failed(body, undefined);
    return sent === "done" ? this.#transmitted(lines) : sent;
  }

  #transmitted(lines: number | undefined): Sent {
    if (lines === undefined) this.messages++;
    return "done";
  }

  #failed({ error }: BodyReader, index: number | undefined): void {
    if (this.#waits.over) return;
    const fields = { session: this.#session, index, error };
    this.#settings.log.warn(fields, "pop3 message can't be read");
  }
}
