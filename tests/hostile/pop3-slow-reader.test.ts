/** A large mail and somebody who reads it slowly. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { loginWhenFree } from "../support/pop3-client.js";
import { domain, password } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { hostPort } from "../support/wire.js";

const scope = ringScope();
const mebi = 2 ** 20;

/** Resident memory of a process, in octets. */
function residentOctets(pid: number): number {
  const [, kibi] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kibi) * 1_024;
}

/**
 * Reads mail 1 with pauses; answers the octets that came, and the most that the member's memory was
 * above what it was when the first octets came.
 */
function readSlowly(member: Member): Promise<{ octets: number; growth: number }> {
  return new Promise((resolve, reject) => {
    const socket = connect(hostPort(member.pop3));
    let octets = 0;
    let tail = "";
    let before: number | undefined;
    let most = 0;
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => {
      octets += chunk.length;
      tail = (tail + chunk.toString("latin1")).slice(-200);
      if (octets > mebi) {
        const now = residentOctets(member.pid);
        before ??= now;
        most = Math.max(most, now - before);
        socket.pause();
        setTimeout(() => socket.resume(), 2);
      }
      if (/\r\n\.\r\n\+OK [^\r]*\r\n$/.test(tail)) {
        socket.destroy();
        resolve({ octets, growth: most });
      }
    });
    socket.write(`USER big\r\nPASS ${password}\r\nRETR 1\r\nQUIT\r\n`);
  });
}

test("RETR of 50 MB by a slow reader: memory grows by less than 10 MB (P14)", async (context) => {
  if (process.platform !== "linux") context.skip("reads /proc/<pid>/status");
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["big"]);
  const line = `.${"0123456789".repeat(7)}\r\n`;
  const mail = Buffer.from(
    `Subject: big\r\n\r\n${line.repeat(Math.ceil((50 * mebi) / line.length))}`,
  );
  const envelope = { from: "", to: [`big@${domain}`] };
  await sendMail(ring.member(0).smtp, envelope, mail);
  const member = ring.member(1);
  // Warmed up: code compiled, the body's index read, the password known.
  for (let round = 0; round < 2; round += 1) {
    const client = await loginWhenFree(member.pop3, "big", password, 60_000);
    expect((await client.retr(1)).length).toBeGreaterThan(mail.length);
    await client.quit();
  }
  const grown: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const { octets, growth } = await readSlowly(member);
    expect(octets).toBeGreaterThan(mail.length);
    grown.push(growth);
  }
  const shown = grown.map((octets) => (octets / mebi).toFixed(1)).join(", ");
  process.stdout.write(`50 MB to a slow reader: the member grew by ${shown} MiB\n`);
  expect(grown.sort((a, b) => a - b)[1]).toBeLessThan(10 * mebi);
}, 300_000);
