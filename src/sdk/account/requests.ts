/** Requests and their responses, by correlation id. */
import { randomUUID } from "node:crypto";
import type { Body, Message, SendOptions } from "../api.js";
import { checkTimeout } from "../checks.js";
import type { Inbox } from "../consume/inbox.js";
import { RingpostError } from "../errors.js";
import type { Link } from "../link/ports.js";
import { sendMessage } from "../outbox.js";
import { closedError, within } from "../waiting.js";

/** Says in a response that it is an error. */
const errorHeader = "ringpost-error";
const streams = { request: "requests", response: "responses" } as const;
const defaultTimeoutMs = 60_000;
const againMs = 1_000;
/** What the handler answered is no body, or larger than any message. */
const unsendable: ReadonlySet<string> = new Set(["malformed", "full"]);

interface Waiting {
  readonly from: string;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
}

export class Requests {
  readonly #inbox: Inbox;
  readonly #link: Link;
  readonly #waiting = new Map<string, Waiting>();
  #isListening = false;

  constructor(inbox: Inbox, link: Link) {
    this.#inbox = inbox;
    this.#link = link;
  }

  async request(
    to: string,
    body: Body,
    { timeoutMs = defaultTimeoutMs, ...options }: SendOptions & { readonly timeoutMs?: number },
  ): Promise<Message> {
    checkTimeout(timeoutMs, "timeoutMs");
    this.#listen();
    const correlationId = randomUUID();
    const response = new Promise<Message>((resolve, reject) => {
      this.#waiting.set(correlationId, { from: to, resolve, reject });
    });
    response.catch(() => undefined);
    try {
      const receipt = await sendMessage(this.#link, {
        to,
        body,
        // An answer after that is waited for by nobody.
        options: { stream: streams.request, ttlMs: timeoutMs, ...options },
        extra: { kind: "request", correlationId },
      });
      receipt.delivered.catch((error: unknown) => {
        this.#waiting.get(correlationId)?.reject(error instanceof Error ? error : closedError());
      });
      const what = `${to}: no response`;
      return await within(response, { ms: timeoutMs, what, signal: options.signal });
    } finally {
      this.#waiting.delete(correlationId);
    }
  }

  respond(handler: (request: Message) => Promise<Body> | Body): AsyncDisposable {
    const consumer = this.#inbox.consume("request");
    const work = async (): Promise<void> => {
      for await (const request of consumer) {
        try {
          await this.#answer(request, handler);
          // In the journal is the response by now; if not, the request comes again.
          await request.ack();
        } catch {
          // The outbox is full, or the journal can't be written: later. The others are answered meanwhile.
          await request.nack({ delayMs: againMs });
        }
      }
    };
    work().catch(() => undefined);
    return { [Symbol.asyncDispose]: () => consumer.close() };
  }

  async #answer(
    request: Message,
    handler: (request: Message) => Promise<Body> | Body,
  ): Promise<void> {
    const { from: to, correlationId = "" } = request;
    const respondWith = (body: Body, headers = {}): Promise<unknown> =>
      sendMessage(this.#link, {
        ...{ to, body, options: { stream: streams.response, headers } },
        extra: { kind: "response", correlationId },
      });
    const refuse = (error: unknown): Promise<unknown> =>
      respondWith(error instanceof Error ? error.message : String(error), { [errorHeader]: true });
    let body: Body;
    try {
      body = await handler(request);
    } catch (error) {
      return void (await refuse(error));
    }
    try {
      await respondWith(body);
    } catch (error) {
      if (!(error instanceof RingpostError) || !unsendable.has(error.code)) throw error;
      if (error.retryable) throw error;
      // Who asked is told; else they would wait, and the request would come again and again.
      await refuse(new Error(`the handler's answer can't be sent: ${error.message}`));
    }
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    const work = async (): Promise<void> => {
      for await (const response of this.#inbox.consume("response", { autoAck: true })) {
        const waiting = this.#waiting.get(response.correlationId ?? "");
        // Nobody else's word counts as the answer.
        if (waiting?.from !== response.from) continue;
        if (response.headers[errorHeader] === true) {
          waiting.reject(new RingpostError("failed", response.text(), false));
        } else waiting.resolve(response);
      }
    };
    const over = (): void => {
      for (const { reject } of this.#waiting.values()) reject(closedError());
    };
    // No response is heard once the client is closed.
    work().then(over, over);
  }
}
