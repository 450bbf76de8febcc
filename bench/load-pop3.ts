/**
 * POP3 load from a process of its own:
 *   tsx bench/load-pop3.ts --targets 127.0.0.1:5110 --connections 8 --seconds 8 --password secret
 * Each session logs in to a maildrop that no other session has, gets up to --retrievals mails in
 * lock-step (--pipelined: --window commands ahead), and quits. Prints one JSON line.
 */
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { cpuSeconds, Faults, mailboxName, Times } from "./client.js";

const { values } = parseArgs({
  options: {
    targets: { type: "string" },
    connections: { type: "string", default: "8" },
    seconds: { type: "string", default: "8" },
    /** Stop after so many sessions, if given. */
    sessions: { type: "string" },
    mailboxes: { type: "string", default: "100" },
    password: { type: "string", default: "" },
    retrievals: { type: "string", default: "200" },
    pipelined: { type: "boolean", default: false },
    window: { type: "string", default: "50" },
  },
});
const targets = (values.targets ?? "").split(",").filter(Boolean);
if (targets.length === 0) throw new Error("--targets host:port[,host:port…]");
const retrievalsMax = Number(values.retrievals);
const sessionsMax = values.sessions === undefined ? Infinity : Number(values.sessions);
const window = values.pipelined ? Number(values.window) : 1;

export interface Pop3LoadResult {
  readonly sessions: number;
  readonly retrieved: number;
  readonly faults: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** One RETR, lock-step only. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly greetingP50Ms: number | null;
  readonly greetingP99Ms: number | null;
  /** From PASS to its answer. */
  readonly loginP50Ms: number | null;
  readonly loginP99Ms: number | null;
  readonly generatorCpuSeconds: number;
  readonly faultCounts: Readonly<Record<string, number>>;
}

const endOfLine = Buffer.from("\r\n");
const endOfData = Buffer.from("\r\n.\r\n");
const times = new Times();
const greetings = new Times();
const logins = new Times();
const faults = new Faults();
const freeBoxes = Array.from({ length: Number(values.mailboxes) }, (_, index) => index);
const beganMs = performance.now();
const stopMs = values.sessions === undefined ? beganMs + Number(values.seconds) * 1_000 : Infinity;
let endedMs = beganMs;
let turn = 0;
let sessions = 0;
let retrieved = 0;
let open = 0;

function more(): boolean {
  return turn < sessionsMax && performance.now() < stopMs && faults.total < 1_000;
}

/** The stages of a session, in order; each reply leads to the next. */
type Awaited = "greeting" | "user" | "pass" | "stat" | "retr" | "quit";

/** One session; the next one begins when it has ended. */
class Session {
  readonly #box: number;
  readonly #socket: Socket;
  #sinceMs = performance.now();
  #awaited: Awaited = "greeting";
  #wanted = 0;
  #asked = 0;
  #got = 0;
  #rest: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor() {
    const box = freeBoxes.shift();
    if (box === undefined) throw new Error("more connections than mailboxes");
    this.#box = box;
    open += 1;
    const [host, port] = (targets[turn++ % targets.length] ?? "").split(":");
    const socket = connect(Number(port), host);
    socket.setNoDelay(true);
    socket.setTimeout(60_000, () => socket.destroy(new Error("nothing for 60 s")));
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", (error) => this.#onEnd(error.message));
    socket.on("close", () => this.#onEnd("closed"));
    this.#socket = socket;
  }

  #onData(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (data.length > 0 && !this.#socket.destroyed) {
      const line = data.indexOf(endOfLine);
      if (line < 0) break;
      const status = data.toString("latin1", 0, line);
      if (data[0] !== 0x2b) return this.#refused(status);
      if (this.#awaited === "retr") {
        const end = data.indexOf(endOfData, line);
        if (end < 0) break;
        data = data.subarray(end + endOfData.length);
        this.#onMail();
      } else {
        data = data.subarray(line + endOfLine.length);
        this.#onStatus(status);
      }
    }
    this.#rest = data;
  }

  #onStatus(line: string): void {
    const nowMs = performance.now();
    switch (this.#awaited) {
      case "greeting":
        greetings.add(nowMs - this.#sinceMs);
        return this.#say(`USER ${mailboxName(this.#box)}\r\n`, "user");
      case "user":
        return this.#say(`PASS ${values.password}\r\n`, "pass");
      case "pass":
        logins.add(nowMs - this.#sinceMs);
        return this.#say("STAT\r\n", "stat");
      case "stat":
        this.#wanted = Math.min(retrievalsMax, Number(line.split(" ")[1]));
        return this.#wanted === 0 ? this.#say("QUIT\r\n", "quit") : this.#ask();
      case "retr":
        throw new Error("RETR has a multi-line answer");
      case "quit":
        sessions += 1;
        endedMs = nowMs;
        this.#socket.destroy();
    }
  }

  #onMail(): void {
    this.#got += 1;
    retrieved += 1;
    if (window === 1) times.add(performance.now() - this.#sinceMs);
    if (this.#got === this.#wanted) this.#say("QUIT\r\n", "quit");
    // Refill when half of the window is through, so that commands travel in batches.
    else if (this.#asked - this.#got <= window / 2) this.#ask();
  }

  #ask(): void {
    let lines = "";
    while (this.#asked < this.#wanted && this.#asked - this.#got < window) {
      lines += `RETR ${++this.#asked}\r\n`;
    }
    if (lines !== "") this.#say(lines, "retr");
  }

  #say(line: string, stage: Awaited): void {
    this.#awaited = stage;
    this.#sinceMs = performance.now();
    this.#socket.write(line);
  }

  #refused(line: string): void {
    faults.add(`${this.#awaited}: ${line}`);
    // Counted already.
    this.#awaited = "quit";
    this.#socket.destroy();
  }

  #onEnd(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    open -= 1;
    freeBoxes.push(this.#box);
    if (this.#awaited !== "quit") faults.add(`${this.#awaited}: ${why}`);
    if (more()) new Session();
    else if (open === 0) report();
  }
}

function report(): void {
  const seconds = Math.max(0.001, (endedMs - beganMs) / 1_000);
  const result: Pop3LoadResult = {
    sessions,
    retrieved,
    faults: faults.total,
    seconds: Number(seconds.toFixed(2)),
    perSecond: Math.round(retrieved / seconds),
    p50Ms: times.quantile(0.5),
    p99Ms: times.quantile(0.99),
    greetingP50Ms: greetings.quantile(0.5),
    greetingP99Ms: greetings.quantile(0.99),
    loginP50Ms: logins.quantile(0.5),
    loginP99Ms: logins.quantile(0.99),
    generatorCpuSeconds: cpuSeconds(),
    faultCounts: faults.counts,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

for (let index = 0; index < Number(values.connections); index += 1) new Session();
