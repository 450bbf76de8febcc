/** What octets cost: an attacker chooses them, so none may cost much more than others. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { start, type Running } from "./testing.js";

let running: Running;

afterEach(() => running.server.close());

/** Sends one mail of about ten megabytes and waits for its 250; a process, so that its time is its own. */
const client = `
const [port, line] = process.argv.slice(1);
const text = JSON.parse(line);
const wire = Buffer.from(text.repeat(Math.floor(10_000_000 / text.length)) + ".\\r\\n");
const socket = require("node:net").connect(Number(port), "127.0.0.1");
const said = ["EHLO c", "MAIL FROM:<b@e.test>", "RCPT TO:<a@ring.test>", "DATA"];
let replies = "";
socket.on("data", (chunk) => {
  replies += chunk;
  if (!/^\\d{3} .*\\r\\n$/m.test(replies)) return;
  const code = replies.trimEnd().split("\\n").at(-1).slice(0, 3);
  replies = "";
  if (code === "354") socket.write(wire);
  else if (said.length > 0) socket.write(said.shift() + "\\r\\n");
  else process.exit(code === "250" ? 0 : 1);
});
`;

/** Microseconds of CPU that this process spends on it. */
async function cost(line: string): Promise<number> {
  const before = process.cpuUsage();
  const args = ["-e", client, String(running.port), JSON.stringify(line)];
  const [code] = await once(spawn(process.execPath, args, { stdio: "inherit" }), "exit");
  expect(code).toBe(0);
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

test("S5: ten megabytes of dots cost at most five times what plain text costs", async () => {
  running = await start();
  const plain: number[] = [];
  const dots: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    plain.push(await cost(`${"x".repeat(76)}\r\n`));
    dots.push(await cost("..\r\n"));
  }
  expect(running.receiver.kept).toHaveLength(10);
  // The best of each: what else the machine did then counts least.
  const ratio = Math.min(...dots) / Math.min(...plain);
  expect(ratio).toBeLessThan(5);
});
