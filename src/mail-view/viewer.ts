/**
 * Parsing of mail off the hot path: in threads with a heap of their own and a deadline. A mail that
 * kills its parser, or takes too long, is "unparsable"; the caller's event loop never waits for it.
 */
import { Worker } from "node:worker_threads";
import { type FromWorker, type MailView, type ToWorker, viewLimits } from "./view.js";

export interface MailViewerOptions {
  /** Mails that are parsed at a time. */
  readonly workers?: number;
  /** The built module of the worker. */
  readonly workerUrl?: URL;
}

export interface MailViewer {
  /** Never rejects. `deadlineMs` counts from the call, waiting for a worker included. */
  view(
    mail: Buffer | AsyncIterable<Buffer>,
    options: { readonly deadlineMs: number },
  ): Promise<MailView>;
  /** Ends the threads; views under way are unparsable. */
  close(): Promise<void>;
}

const pieceOctets = 64 * 1024;
const unparsable = (why: string): MailView => ({ kind: "unparsable", why });

export function createMailViewer({ workers = 1, workerUrl }: MailViewerOptions = {}): MailViewer {
  const url = workerUrl ?? new URL("./worker.js", import.meta.url);
  const idle: Parser[] = Array.from({ length: workers }, () => new Parser(url));
  const all = [...idle];
  const waiting: ((parser: Parser) => void)[] = [];

  const free = (parser: Parser): void => {
    const next = waiting.shift();
    if (next) next(parser);
    else idle.push(parser);
  };

  async function view(mail: Buffer | AsyncIterable<Buffer>, deadlineMs: number): Promise<MailView> {
    const giveUp = AbortSignal.timeout(deadlineMs);
    const late = unparsable(`parsing it takes longer than ${deadlineMs} ms`);
    const parser = idle.pop() ?? (await nextFree(giveUp));
    if (!parser) return late;
    const expired = new Promise<MailView>((resolve) => {
      if (giveUp.aborted) resolve(late);
      giveUp.addEventListener("abort", () => resolve(late), { once: true });
    });
    const answer = await Promise.race([parser.parse(mail), expired]);
    // One that is late may go on for ever: another one takes its place.
    if (answer === late) await parser.end();
    free(parser);
    return answer;
  }

  function nextFree(giveUp: AbortSignal): Promise<Parser | undefined> {
    return new Promise((resolve) => {
      waiting.push(resolve);
      giveUp.addEventListener(
        "abort",
        () => {
          const place = waiting.indexOf(resolve);
          if (place >= 0) waiting.splice(place, 1);
          resolve(undefined);
        },
        { once: true },
      );
    });
  }

  return {
    view: (mail, { deadlineMs }) => view(mail, deadlineMs),
    close: async () => {
      await Promise.all(all.map((parser) => parser.end()));
    },
  };
}

/** One thread, started when it is needed, and again when it has died. */
class Parser {
  #worker: Worker | undefined;
  #job = 0;
  #hear: (message: FromWorker) => void = () => undefined;

  constructor(private readonly url: URL) {}

  /** Never rejects; one mail at a time. */
  async parse(mail: Buffer | AsyncIterable<Buffer>): Promise<MailView> {
    const worker = (this.#worker ??= this.#start());
    // It keeps the process alive only while somebody waits for it.
    worker.ref();
    const job = (this.#job += 1);
    let view: MailView | undefined;
    let wake: () => void = () => undefined;
    let isWanted = true;
    this.#hear = (message) => {
      if (message.job !== job) return;
      // Of a death the first word tells most.
      if (message.kind === "view") view ??= message.view;
      else isWanted = true;
      wake();
    };
    const heard = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    const say = (message: ToWorker) => {
      worker.postMessage(message, message.kind === "piece" ? [message.octets.buffer] : []);
    };
    try {
      let octets = 0;
      for await (const piece of piecesOf(mail)) {
        octets += piece.length;
        if (octets > viewLimits.mailOctetsMax) {
          await this.end();
          return unparsable(`it has more than ${viewLimits.mailOctetsMax} octets`);
        }
        while (!isWanted && view === undefined) await heard();
        if (view !== undefined) return view;
        isWanted = false;
        // A copy that is handed over: of a view, the whole memory behind it would be copied.
        say({ job, kind: "piece", octets: new Uint8Array(piece) });
      }
      while (!isWanted && view === undefined) await heard();
      if (view === undefined) say({ job, kind: "end" });
      while (view === undefined) await heard();
      return view;
    } catch (error) {
      await this.end();
      return unparsable(`it could not be read: ${String(error).slice(0, 200)}`);
    } finally {
      this.#hear = () => undefined;
      worker.unref();
    }
  }

  #start(): Worker {
    const worker = new Worker(this.url, {
      // What a mail makes a parser print is nobody's business.
      ...{ stdout: true, stderr: true },
      resourceLimits: { maxOldGenerationSizeMb: viewLimits.heapMebioctetsMax, stackSizeMb: 4 },
    });
    const died = (why: string) => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#hear({ job: this.#job, kind: "view", view: unparsable(why) });
    };
    worker.on("message", (message: FromWorker) => this.#hear(message));
    worker.on("error", (error) => died(`its parser died: ${error.message.slice(0, 200)}`));
    worker.on("exit", () => died("its parser was ended"));
    worker.unref();
    return worker;
  }

  async end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

async function* piecesOf(mail: Buffer | AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  if (!Buffer.isBuffer(mail)) yield* mail;
  else {
    for (let at = 0; at < mail.length; at += pieceOctets) yield mail.subarray(at, at + pieceOctets);
  }
}
