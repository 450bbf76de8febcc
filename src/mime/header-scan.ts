/**
 * Looks at a header (RFC 5322 §2.2) while it comes in: where it ends, how long it is, and which of
 * the fields that a submission must have (RFC 6409 §8) are there. Keeps nothing of it but the name
 * of the field that it is in. The header ends at an empty line, or at a line that is no field: of
 * that, and of all behind it, nothing is read as a header. Pure.
 */

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const TAB = 0x09;
const COLON = 0x3a;

/** A longer name is no name, but a line of text. */
const nameOctetsMax = 256;

type Place = "lineStart" | "name" | "beforeColon" | "value";

export class HeaderScan {
  #place: Place = "lineStart";
  #name = "";
  #fields = 0;
  #octets = 0;
  #ended = false;
  #hasDate = false;
  #hasMessageId = false;
  #received = 0;

  get ended(): boolean {
    return this.#ended;
  }

  /** Octets of the header so far. */
  get octets(): number {
    return this.#octets;
  }

  get hasDate(): boolean {
    return this.#hasDate;
  }

  get hasMessageId(): boolean {
    return this.#hasMessageId;
  }

  /** Servers that the mail has come through, as it says: RFC 5321 §6.3. */
  get received(): number {
    return this.#received;
  }

  /** Takes the next octets; what is behind the header is not looked at. */
  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#ended) {
      if (this.#place === "value") {
        const end = chunk.indexOf(LF, at);
        at = end < 0 ? chunk.length : end + 1;
        if (end >= 0) this.#place = "lineStart";
      } else {
        this.#step(chunk[at] as number);
        if (!this.#ended) at += 1;
      }
    }
    this.#octets += at;
  }

  #step(octet: number): void {
    const blank = octet === SPACE || octet === TAB;
    switch (this.#place) {
      case "lineStart":
        // A line that begins with a blank continues the field before it, if there is one.
        if (blank && this.#fields > 0) this.#place = "value";
        else this.#nameOctet(octet, "");
        break;
      case "name":
        // RFC 5322 §4.5 lets blanks stand between name and colon.
        if (blank) this.#place = "beforeColon";
        else if (octet === COLON) this.#noteField();
        else this.#nameOctet(octet, this.#name);
        break;
      case "beforeColon":
        if (octet === COLON) this.#noteField();
        else if (!blank) this.#ended = true;
        break;
      case "value":
        break;
    }
  }

  #nameOctet(octet: number, before: string): void {
    const isName = octet > SPACE && octet < 0x7f && octet !== COLON && octet !== CR;
    if (!isName || before.length === nameOctetsMax) {
      this.#ended = true;
      return;
    }
    this.#place = "name";
    this.#name = before + String.fromCharCode(octet);
  }

  #noteField(): void {
    const name = this.#name.toLowerCase();
    if (name === "date") this.#hasDate = true;
    if (name === "message-id") this.#hasMessageId = true;
    if (name === "received") this.#received += 1;
    this.#fields += 1;
    this.#place = "value";
  }
}
