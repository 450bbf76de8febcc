/** The two commands that started it all, word for word but for the ports. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { addUser } from "../support/chord.js";
import { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { freeRingPort } from "../support/ports.js";
import { sendMail } from "../support/smtp-client.js";
import { senderBefore } from "../support/trace.js";

const folder = mkdtempSync(join(tmpdir(), "ringpost-test-"));
const members: Member[] = [];

afterEach(async (context) => {
  for (const member of members) {
    if (context.task.result?.state === "fail") process.stderr.write(`${member.tail(80)}\n`);
    if (member.running) await member.kill("SIGKILL");
  }
  rmSync(folder, { recursive: true, force: true });
});

async function run(id: string, addr: string, flags: readonly string[]): Promise<Member> {
  const dataDir = join(folder, `data-${id}`);
  const args = ["--id", id, "--addr", addr, "--bits", "3", ...flags, "--data", dataDir];
  const member = new Member({ id, addr, dataDir, args, logFile: join(folder, `${id}.log`) });
  members.push(member);
  member.start();
  return await member.ready();
}

test("chord --id 2 …, chord --id 5 … --entry …: mail goes both ways", async () => {
  const first = `127.0.0.1:${await freeRingPort()}`;
  const second = `127.0.0.1:${await freeRingPort()}`;
  const two = await run("2", first, []);
  const five = await run("5", second, ["--entry", first]);

  const port = (addr: string): number => Number(addr.split(":")[1]);
  expect(port(two.smtp)).toBe(port(first) + 25);
  expect(port(two.pop3)).toBe(port(first) + 110);

  await addUser(first, "alice", "wonder land");
  await addUser(second, "bob", "build er");
  const toAlice = Buffer.from("Subject: to alice\r\n\r\nsent to 2, read at 5\r\n");
  const toBob = Buffer.from("Subject: to bob\r\n\r\nsent to 5, read at 2\r\n");
  await sendMail(two.smtp, { from: "bob@ring.test", to: ["alice@ring.test"] }, toAlice);
  await sendMail(five.smtp, { from: "alice@ring.test", to: ["bob@ring.test"] }, toBob);

  const [forAlice] = await fetchAll(five.pop3, "alice", "wonder land");
  const [forBob] = await fetchAll(two.pop3, "bob@ring.test", "build er");
  expect(senderBefore(toAlice, forAlice?.bytes ?? Buffer.alloc(0))).toBe("bob@ring.test");
  expect(senderBefore(toBob, forBob?.bytes ?? Buffer.alloc(0))).toBe("alice@ring.test");
});
