/** Reads one mail with `mailparser`, within bounds. Runs in the worker. */
import { type Headers, MailParser } from "mailparser";
import { boundaryCounter } from "./boundaries.js";
import { plainText } from "./plain-text.js";
import { type MailAttachment, type MailView, viewLimits } from "./view.js";

/** What of mailparser's options and events its type declarations lack or get wrong. */
interface AttachmentEvent {
  readonly type: "attachment";
  readonly filename?: string | false;
  readonly contentType?: string;
  readonly content: NodeJS.ReadableStream;
  release(): void;
}
interface TextEvent {
  readonly type: "text";
  readonly text?: string;
  readonly html?: string | false;
}

export class MailReading {
  readonly #parser: MailParser;
  readonly #done: (view: MailView) => void;
  readonly #attachments: MailAttachment[] = [];
  readonly #boundaries = boundaryCounter();
  #headers: Headers = new Map();
  #text: TextEvent | undefined;
  #isOver = false;

  constructor(done: (view: MailView) => void) {
    this.#done = done;
    this.#parser = new MailParser({
      skipHtmlToText: true,
      skipTextToHtml: true,
      skipImageLinks: true,
      skipTextLinks: true,
      maxHeadSize: viewLimits.headerOctetsMax,
      maxChildNodes: viewLimits.partsMax,
    } as ConstructorParameters<typeof MailParser>[0]);
    this.#parser.on("headers", (headers: Headers) => {
      this.#headers = headers;
    });
    this.#parser.on("data", (data: AttachmentEvent | TextEvent) => this.#onPart(data));
    this.#parser.on("error", (error: Error) => this.#fail(error.message));
    this.#parser.on("end", () => this.#finish());
  }

  /** Resolves when there is room for more. */
  async take(piece: Buffer): Promise<void> {
    if (this.#isOver) return;
    if (this.#boundaries(piece) > viewLimits.boundariesMax) {
      return this.#fail(`it declares more than ${viewLimits.boundariesMax} boundaries`);
    }
    if (this.#parser.write(piece)) return;
    await new Promise<void>((resolve) => {
      this.#parser.once("drain", resolve);
      // A parser that has failed never drains.
      this.#parser.once("error", () => resolve());
    });
  }

  end(): void {
    if (!this.#isOver) this.#parser.end();
  }

  #onPart(part: AttachmentEvent | TextEvent): void {
    if (part.type === "text") {
      this.#text = part;
      return;
    }
    let octets = 0;
    part.content.on("data", (chunk: Buffer) => {
      octets += chunk.length;
    });
    part.content.on("end", () => {
      if (this.#attachments.length < viewLimits.attachmentsMax) {
        const { filename, contentType = "application/octet-stream" } = part;
        this.#attachments.push({ name: filename || "", type: contentType, octets });
      }
      part.release();
    });
  }

  #fail(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parser.destroy();
    this.#done({ kind: "unparsable", why: why.replaceAll(/[^ -~]+/g, " ").slice(0, 200) });
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { text, html } = this.#text ?? {};
    const whole = text !== undefined && text !== "" ? text : plainText(html || "");
    const date: unknown = this.#headers.get("date");
    const isDate = date instanceof Date && !Number.isNaN(date.getTime());
    this.#done({
      kind: "parsed",
      ...{ from: this.#field("from"), to: this.#field("to"), cc: this.#field("cc") },
      subject: this.#field("subject"),
      ...(isDate && { date }),
      text: whole.slice(0, viewLimits.textCharsMax),
      cut: whole.length > viewLimits.textCharsMax,
      attachments: this.#attachments,
    });
  }

  #field(name: string): string {
    const value: unknown = this.#headers.get(name);
    const texts = (Array.isArray(value) ? value : [value]).map((one: unknown) => {
      if (typeof one === "string") return one;
      const { text } = (one ?? {}) as { text?: unknown };
      return typeof text === "string" ? text : "";
    });
    return texts
      .filter((one) => one !== "")
      .join(", ")
      .slice(0, 10_000);
  }
}
