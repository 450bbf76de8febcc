/** What the load generators share: a socket that hands out reply lines, and statistics. */
import { connect, type Socket } from "node:net";

/** Reads replies line by line; one callback per line, no promises on the hot path. */
export function lineSocket(
  target: string,
  handlers: {
    /** `line` as latin1, without its line end. Return false to stop reading lines. */
    readonly onLine: (line: string) => void;
    readonly onEnd: (why: string) => void;
  },
): Socket {
  const colon = target.lastIndexOf(":");
  const socket = connect(Number(target.slice(colon + 1)), target.slice(0, colon));
  socket.setNoDelay(true);
  socket.setTimeout(60_000, () => socket.destroy(new Error("nothing for 60 s")));
  let rest = "";
  let ended = false;
  const end = (why: string): void => {
    if (ended) return;
    ended = true;
    handlers.onEnd(why);
  };
  socket.on("data", (chunk: Buffer) => {
    const text = rest + chunk.toString("latin1");
    let from = 0;
    for (let at = text.indexOf("\r\n"); at >= 0; at = text.indexOf("\r\n", from)) {
      handlers.onLine(text.slice(from, at));
      from = at + 2;
    }
    rest = text.slice(from);
  });
  socket.on("error", (error) => end(error.message));
  socket.on("close", () => end("closed"));
  return socket;
}

/** Times in milliseconds, and what people ask of them. */
export class Times {
  readonly #all: number[] = [];

  add(ms: number): void {
    this.#all.push(ms);
  }

  /** The `share` quantile (nearest rank), two decimals; null without any times. */
  quantile(share: number): number | null {
    const sorted = this.#all.toSorted((a, b) => a - b);
    const at = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    return at === undefined ? null : Number(at.toFixed(2));
  }
}

/** Counts faults by what was said, at most twenty kinds. */
export class Faults {
  readonly counts: Record<string, number> = {};
  total = 0;

  add(what: string): void {
    this.total += 1;
    const key = what.slice(0, 80);
    if (key in this.counts || Object.keys(this.counts).length < 20) {
      this.counts[key] = (this.counts[key] ?? 0) + 1;
    }
  }
}

/** CPU seconds of this process: a generator that is itself the bottleneck measures nothing. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return Number(((user + system) / 1e6).toFixed(2));
}

export function mailboxName(index: number): string {
  return `bench-${index}`;
}
