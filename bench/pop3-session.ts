/**
 * How fast the POP3 server is without a store: RETR of 4 KiB mails out of memory, server and client
 * in processes of their own.
 *
 *   npx tsx bench/pop3-session.ts [--conns 16] [--secs 4] [--octets 4096] [--window 1,50]
 *   npx tsx bench/pop3-session.ts --serve --port 5110     only the server, users u000 to u099
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { createPop3Server } from "../src/pop3/index.js";
import { MemoryMaildrops } from "../tests/transcripts/pop3-support.js";

const MAILS = 100;
const PASSWORD = "secret";

const { values } = parseArgs({
  options: {
    serve: { type: "boolean", default: false },
    port: { type: "string", default: "0" },
    conns: { type: "string", default: "16" },
    secs: { type: "string", default: "4" },
    octets: { type: "string", default: "4096" },
    window: { type: "string", default: "1,50" },
  },
});
const octets = Number(values.octets);

function user(n: number): string {
  return `u${String(n).padStart(3, "0")}`;
}

function mail(): Buffer {
  const line = "The quick brown fox jumps over the lazy dog, and again, and once more.\r\n";
  const text = `Subject: bench\r\n\r\n${line.repeat(Math.ceil(octets / line.length))}`;
  return Buffer.from(`${text.slice(0, octets - 2)}\r\n`);
}

async function serve(): Promise<void> {
  const maildrops = new MemoryMaildrops();
  for (let n = 0; n < 100; n++) maildrops.add(user(n), PASSWORD, Array(MAILS).fill(mail()));
  const server = createPop3Server({ onAuth: maildrops.onAuth });
  const { port } = await server.listen({ port: Number(values.port), host: "127.0.0.1" });
  if (process.send === undefined) console.log(`port ${port}`);
  else process.send({ port });
  process.on("message", () => {
    const { user: userUs, system } = process.cpuUsage();
    process.send?.({ cpuMs: (userUs + system) / 1000, rssBytes: process.memoryUsage.rss() });
  });
  process.on("disconnect", () => process.exit(0));
}

/** RETRs over one connection, `window` in flight; counts whole replies until told to stop. */
function load(port: number, n: number, window: number, state: { done: boolean }): Promise<number> {
  const replyOctets = `+OK ${octets} octets\r\n`.length + mail().length + ".\r\n".length;
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let received = 0;
    let sent = 0;
    let counted = 0;
    let prologue = "";
    const retr = () => `RETR ${(sent++ % MAILS) + 1}\r\n`;
    const refill = () => {
      const inFlight = sent - Math.floor(received / replyOctets);
      if (inFlight > window / 2) return;
      let out = "";
      for (let more = window - inFlight; more > 0; more--) out += retr();
      socket.write(out);
    };
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      if (!prologue.includes("logged in")) {
        prologue += chunk.toString("latin1");
        if (prologue.includes("logged in")) refill();
        return;
      }
      received += chunk.length;
      counted = Math.floor(received / replyOctets);
      if (state.done) {
        socket.destroy();
        resolve(counted);
        return;
      }
      refill();
    });
    socket.write(`USER ${user(n)}\r\nPASS ${PASSWORD}\r\n`);
  });
}

async function measure(window: number): Promise<void> {
  const child = fork(process.argv[1] ?? "", ["--serve", "--octets", values.octets], {
    execArgv: process.execArgv,
  });
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const state = { done: false };
  const conns = Number(values.conns);
  const startedAtMs = performance.now();
  const loads = Array.from({ length: conns }, (_, n) => load(port, n, window, state));
  setTimeout(() => {
    state.done = true;
  }, Number(values.secs) * 1000);
  const counts = await Promise.all(loads);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const total = counts.reduce((sum, count) => sum + count, 0);
  child.send("usage");
  const [usage] = (await once(child, "message")) as [{ cpuMs: number; rssBytes: number }];
  child.disconnect();
  const perRetrUs = (usage.cpuMs * 1000) / total;
  console.log(
    `window ${window}: ${Math.round(total / seconds)} RETR/s, server ${perRetrUs.toFixed(1)} µs CPU` +
      ` each, ${Math.round(usage.rssBytes / 1e6)} MB`,
  );
}

if (values.serve) {
  await serve();
} else {
  for (const window of values.window.split(",")) await measure(Number(window));
}
