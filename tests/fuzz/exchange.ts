/** A client of raw octets: sends pieces, reads all that comes until the server ends. */
import { connect } from "node:net";

const deadlineMs = 60_000;

/**
 * Sends the pieces, each in a turn of its own, ends its side, and resolves to all that was received
 * (latin1). `greeting`: waits for the first line before it says anything.
 */
export function exchange(
  port: number,
  pieces: readonly Buffer[],
  { greeting = false, lockstep = false } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    const received: Buffer[] = [];
    let isOver = false;
    let wake: (() => void) | undefined;
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end within ${deadlineMs} ms after ${text()}`));
    }, deadlineMs);
    const text = () => Buffer.concat(received).toString("latin1");
    socket.on("data", (chunk) => {
      received.push(chunk);
      wake?.();
    });
    // A server that hangs up on somebody who still talks: what it said counts.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      isOver = true;
      clearTimeout(timer);
      wake?.();
      resolve(text());
    });
    const heard = () =>
      new Promise<void>((next) => {
        wake = next;
      });
    const turn = () => new Promise<void>((next) => setImmediate(next));
    void (async () => {
      while (greeting && received.length === 0 && !isOver) await heard();
      for (const piece of pieces) {
        if (isOver || !socket.writable) return;
        const before = received.length;
        socket.write(piece);
        await turn();
        while (lockstep && received.length === before && !isOver) await heard();
      }
      socket.end();
    })();
  });
}
