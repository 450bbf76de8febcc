/**
 * The content of DATA: RFC 5321 §4.1.1.4 and §4.5.2. Finds the one end of data, `<CRLF>.<CRLF>`,
 * undoes the dots, and notes a CR or LF that is not part of a CRLF: servers that differ about those
 * can be made to see two mails where there is one (SMTP smuggling), so such a mail is refused.
 * One pass over the octets, whatever way TCP has cut them. Pure.
 */

const CR = 0x0d;
const LF = 0x0a;
const DOT = 0x2e;

type Place = "lineStart" | "afterDot" | "afterDotCr" | "inLine" | "afterCr";

interface Unstuffed {
  /** Octets of the mail; a part of the chunk that was fed, whose memory was reused. */
  readonly content: Buffer;
  /** Octets of the chunk up to and with the end of data; undefined when that is still to come. */
  readonly end: number | undefined;
}

export class Unstuffer {
  #place: Place = "lineStart";
  #bareLineEnd = false;

  /** True when there was a CR or LF alone. The content is then of no use any more. */
  get bareLineEnd(): boolean {
    return this.#bareLineEnd;
  }

  /** Takes the next octets from `from` on. The chunk is written to: dots are squeezed out. */
  feed(chunk: Buffer, from = 0): Unstuffed {
    const length = chunk.length;
    let place = this.#place;
    let read = from;
    // Where the next octet of content goes; never ahead of `read`, since dots only vanish.
    let write = from;
    while (read < length) {
      const octet = chunk[read] as number;
      switch (place) {
        case "lineStart":
          place = octet === DOT ? "afterDot" : "inLine";
          if (octet === DOT) read += 1;
          break;
        case "afterDot":
          // §4.5.2: the first dot of a line with more on it is deleted, whatever follows.
          place = octet === CR ? "afterDotCr" : "inLine";
          if (octet === CR) read += 1;
          break;
        case "afterDotCr":
          if (octet === LF) return this.#ended(chunk, from, write, read + 1);
          this.#bareLineEnd = true;
          place = "inLine";
          break;
        case "afterCr":
          if (octet === LF) {
            chunk[write++] = octet;
            read += 1;
            place = "lineStart";
          } else {
            this.#bareLineEnd = true;
            place = "inLine";
          }
          break;
        case "inLine": {
          let current = octet;
          // The loop nearly all octets go through.
          while (current !== CR && current !== LF) {
            chunk[write++] = current;
            if (++read === length) break;
            current = chunk[read] as number;
          }
          if (read === length) break;
          if (current === CR) place = "afterCr";
          else this.#bareLineEnd = true;
          chunk[write++] = current;
          read += 1;
          break;
        }
      }
    }
    this.#place = place;
    return { content: chunk.subarray(from, write), end: undefined };
  }

  #ended(chunk: Buffer, from: number, write: number, end: number): Unstuffed {
    this.#place = "lineStart";
    return { content: chunk.subarray(from, write), end };
  }
}
