/**
 * What the SMTP listener costs beside the library that it is built on: smtp-server that only
 * drains, and ours with a receiver that answers at once. Each in a process of its own.
 *
 *   npx tsx bench/smtp-bare.ts [mails=20000] [connections=16] [octets=4096] [mails per connection]
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { SMTPServer } from "smtp-server";
import type { MailboxName, MessageId } from "../src/shared/ids.js";
import { createSmtpServer } from "../src/smtp/server.js";

const [role = "20000", ...more] = process.argv.slice(2);

async function serveBare(): Promise<number> {
  const server = new SMTPServer({
    disabledCommands: ["AUTH", "STARTTLS"],
    disableReverseLookup: true,
    logger: false,
    onMailFrom: (_address, _session, callback) => callback(),
    onRcptTo: (_address, _session, callback) => callback(),
    onData: (stream, _session, callback) => {
      stream.resume();
      stream.on("end", () => callback());
    },
  });
  server.on("error", () => undefined);
  const listener = server.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const at = listener.address();
  return at !== null && typeof at === "object" ? at.port : 0;
}

async function serveOurs(): Promise<number> {
  const ignore = () => undefined;
  let count = 0;
  const server = createSmtpServer({
    name: "mx.ring.test",
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    receiver: {
      resolve: async (address) => ({ kind: "mailboxes", mailboxes: [address as MailboxName] }),
      deliver: async ({ mailboxes, traceFor }) => {
        const ids = mailboxes.map((mailbox) => {
          const id = (count++).toString(16).padStart(32, "0") as MessageId;
          traceFor(mailbox, id);
          return id;
        });
        return { kind: "stored", ids, copies: 3, copiesWanted: 3 };
      },
      spoolPath: () => "/nonexistent",
      settled: ignore,
    },
  });
  return (await server.listen({ host: "127.0.0.1", port: 0 })).port;
}

/** One connection: `mails` mails in lock-step. */
async function client(port: number, mails: number, body: string): Promise<void> {
  const socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
  socket.setEncoding("latin1");
  const mail = ["MAIL FROM:<a@else.test>", "RCPT TO:<alice@ring.test>", "DATA", body];
  const steps = ["EHLO bench.test", ...Array.from({ length: mails }, () => mail).flat(), "QUIT"];
  let at = 0;
  let text = "";
  socket.on("data", (chunk: string) => {
    text += chunk;
    if (!/^\d{3}(?: .*)?\r\n$/m.test(text)) return;
    if (!/^[23]/.test(text)) throw new Error(text);
    text = "";
    const step = steps[at++];
    if (step !== undefined) socket.write(`${step}\r\n`);
  });
  await once(socket, "close");
}

async function measure(kind: string, [mails, connections, octets, perConnection]: number[]) {
  const server = fork(fileURLToPath(import.meta.url), [kind]);
  const [port] = (await once(server, "message")) as [number];
  const body = `${`${"x".repeat(76)}\r\n`.repeat(Math.ceil((octets ?? 0) / 78))}.`;
  const run = async (total: number) => {
    let left = total;
    const work = async () => {
      while (left > 0) {
        const now = Math.min(left, perConnection ?? left);
        left -= now;
        await client(port, now, body);
      }
    };
    await Promise.all(Array.from({ length: connections ?? 1 }, work));
  };
  const cpuMicros = async () => {
    server.send("cpu");
    return ((await once(server, "message")) as [number])[0];
  };
  await run(Math.ceil((mails ?? 0) / 4));
  const [began, cpuBegan] = [performance.now(), await cpuMicros()];
  await run(mails ?? 0);
  const seconds = (performance.now() - began) / 1_000;
  const cpu = ((await cpuMicros()) - cpuBegan) / (mails ?? 1);
  server.kill();
  const rate = Math.round((mails ?? 0) / seconds);
  console.log(`${kind}: ${rate} mails/s, ${Math.round(cpu)} µs of CPU a mail`);
}

if (role === "bare" || role === "ours") {
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
}
if (role === "bare") process.send?.(await serveBare());
else if (role === "ours") process.send?.(await serveOurs());
else {
  const [mails = 20_000, connections = 16, octets = 4_096, perConnection] = [role, ...more].map(
    Number,
  );
  const share = perConnection ?? Math.ceil(mails / connections);
  await measure("bare", [mails, connections, octets, share]);
  await measure("ours", [mails, connections, octets, share]);
}
