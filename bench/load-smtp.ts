/**
 * SMTP load from a process of its own:
 *   tsx bench/load-smtp.ts --targets 127.0.0.1:5025,127.0.0.1:5027 --connections 16 --seconds 8
 * Each connection sends mail after mail, with MAIL, RCPT and DATA in lock-step (--pipelined: in one
 * write). Every mail has its own Message-ID. Prints one JSON line, see `SmtpLoadResult`.
 */
import type { Socket } from "node:net";
import { parseArgs } from "node:util";
import { cpuSeconds, Faults, lineSocket, mailboxName, Times } from "./client.js";

const { values } = parseArgs({
  options: {
    targets: { type: "string" },
    connections: { type: "string", default: "16" },
    /** Stop after so many seconds … */
    seconds: { type: "string", default: "8" },
    /** … or after so many mails, if given. */
    mails: { type: "string" },
    /** Not measured, at the start. */
    warmup: { type: "string", default: "200" },
    octets: { type: "string", default: "4096" },
    mailboxes: { type: "string", default: "100" },
    domain: { type: "string", default: "ring.test" },
    /** Mails per connection; 0: all over one. */
    "per-connection": { type: "string", default: "0" },
    pipelined: { type: "boolean", default: false },
  },
});
const targets = (values.targets ?? "").split(",").filter(Boolean);
if (targets.length === 0) throw new Error("--targets host:port[,host:port…]");
const connections = Number(values.connections);
const mailboxes = Number(values.mailboxes);
const perConnection = Number(values["per-connection"]);
const warmup = Number(values.warmup);
const mailsMax = values.mails === undefined ? Infinity : Number(values.mails) + warmup;
const run = `${process.pid}.${Date.now()}`;

export interface SmtpLoadResult {
  readonly mails: number;
  readonly faults: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** From MAIL to the reply after the dot. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** From connect to the 220. */
  readonly greetingP50Ms: number | null;
  readonly greetingP99Ms: number | null;
  readonly generatorCpuSeconds: number;
  readonly faultCounts: Readonly<Record<string, number>>;
}

const textLine = `${"The quick brown fox jumps over the lazy dog. ".repeat(2).trim()}\r\n`;
const headOctets = 200;
const bodyText = textLine
  .repeat(Math.ceil(Number(values.octets) / textLine.length))
  .slice(0, Math.max(0, Number(values.octets) - headOctets - 4));
const body = `${bodyText.replaceAll(/[\r\n]+$/g, "")}\r\n.\r\n`;

const times = new Times();
const greetings = new Times();
const faults = new Faults();
let started = 0;
let acknowledged = 0;
let open = 0;
let beganMs = performance.now();
let endedMs = beganMs;
const stopMs =
  values.mails === undefined ? beganMs + Number(values.seconds) * 1_000 : Number.POSITIVE_INFINITY;

function more(): boolean {
  return started < mailsMax && performance.now() < stopMs && faults.total < 1_000;
}

function headOf(serial: number, to: string): string {
  const id = `Message-ID: <${serial}.${run}@bench.test>`;
  const head = `From: <load@bench.test>\r\nTo: <${to}>\r\n${id}\r\n`;
  const pad = Math.max(0, headOctets - head.length - "Subject: \r\n\r\n".length);
  return `${head}Subject: ${"s".repeat(pad)}\r\n\r\n`;
}

/** One connection; when it has ended and there is more to send, the next one takes its place. */
class Connection {
  readonly #index: number;
  readonly #socket: Socket;
  readonly #openedMs = performance.now();
  #awaited: "greeting" | "ehlo" | "mail" | "rcpt" | "data" | "dot" | "quit" = "greeting";
  #sent = 0;
  #mailMs = 0;
  #serial = 0;
  #to = "";

  constructor(index: number) {
    this.#index = index;
    open += 1;
    this.#socket = lineSocket(targets[index % targets.length] ?? "", {
      onLine: (line) => this.#onLine(line),
      onEnd: (why) => this.#onEnd(why),
    });
  }

  #onLine(line: string): void {
    if (line[3] === "-") return;
    if (line[0] === "2" || line[0] === "3") return this.#step();
    faults.add(`${this.#awaited}: ${line}`);
    this.#socket.destroy();
  }

  #step(): void {
    switch (this.#awaited) {
      case "greeting":
        greetings.add(performance.now() - this.#openedMs);
        this.#awaited = "ehlo";
        this.#socket.write("EHLO bench.test\r\n");
        return;
      case "ehlo":
        return this.#next();
      case "mail":
        this.#awaited = "rcpt";
        if (!values.pipelined) this.#socket.write(`RCPT TO:<${this.#to}>\r\n`);
        return;
      case "rcpt":
        this.#awaited = "data";
        if (!values.pipelined) this.#socket.write("DATA\r\n");
        return;
      case "data":
        this.#awaited = "dot";
        this.#socket.write(headOf(this.#serial, this.#to) + body);
        return;
      case "dot":
        return this.#stored();
      case "quit":
        this.#socket.destroy();
    }
  }

  #next(): void {
    if (!more() || (perConnection > 0 && this.#sent >= perConnection)) {
      this.#awaited = "quit";
      this.#socket.write("QUIT\r\n");
      return;
    }
    this.#serial = started++;
    this.#sent += 1;
    if (this.#serial === warmup) beganMs = performance.now();
    this.#to = `${mailboxName((this.#serial * 7) % mailboxes)}@${values.domain}`;
    this.#mailMs = performance.now();
    this.#awaited = "mail";
    const mail = "MAIL FROM:<load@bench.test>\r\n";
    this.#socket.write(values.pipelined ? `${mail}RCPT TO:<${this.#to}>\r\nDATA\r\n` : mail);
  }

  #stored(): void {
    endedMs = performance.now();
    if (this.#serial >= warmup) {
      acknowledged += 1;
      times.add(endedMs - this.#mailMs);
    }
    this.#next();
  }

  #onEnd(why: string): void {
    open -= 1;
    if (this.#awaited !== "quit") faults.add(`${this.#awaited}: ${why}`);
    if (more()) new Connection(this.#index);
    else if (open === 0) report();
  }
}

function report(): void {
  const seconds = Math.max(0.001, (endedMs - beganMs) / 1_000);
  const result: SmtpLoadResult = {
    mails: acknowledged,
    faults: faults.total,
    seconds: Number(seconds.toFixed(2)),
    perSecond: Math.round(acknowledged / seconds),
    p50Ms: times.quantile(0.5),
    p99Ms: times.quantile(0.99),
    greetingP50Ms: greetings.quantile(0.5),
    greetingP99Ms: greetings.quantile(0.99),
    generatorCpuSeconds: cpuSeconds(),
    faultCounts: faults.counts,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

for (let index = 0; index < connections; index += 1) new Connection(index);
