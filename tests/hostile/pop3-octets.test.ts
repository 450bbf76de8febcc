/** Mails come out as they went in, whatever is in them, and keep their names. */
import { expect, test } from "vitest";
import { fetchAll, loginWhenFree } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { senderBefore } from "../support/trace.js";

const scope = ringScope();
const from = `odd@${domain}`;
const latin1 = (text: string) => Buffer.from(text, "latin1");

const odd: readonly (readonly [string, Buffer])[] = [
  ["8-bit, every octet but CR and LF", latin1(`Subject: \xe5\r\n\r\n${everyOctet()}\r\n`)],
  ["NUL", latin1("Subject: nul\r\n\r\n\0\r\na\0b\r\n\0\0\r\n")],
  ["dots", latin1(`Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n${".".repeat(900)}\r\n.\r\n`)],
  ["lines of 5 kB", latin1(`Subject: long\r\n\r\n${`.${"y".repeat(5_000)}\r\n`.repeat(3)}`)],
  ["no header", latin1("\r\n.only a body\r\n")],
];

function everyOctet(): string {
  const octets = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet));
  return octets.filter((octet) => octet !== "\r" && octet !== "\n").join("");
}

async function send(ring: Ring, index: number, name: string, mail: Buffer): Promise<void> {
  await sendMail(ring.member(index).smtp, { from, to: [`${name}@${domain}`] }, mail);
}

test("any octets (P6)", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["odd"]);
  for (const [index, [, mail]] of odd.entries()) await send(ring, index % 3, "odd", mail);
  for (const member of ring.members) {
    const got = await fetchAll(member.pop3, "odd", password);
    expect(got).toHaveLength(odd.length);
    for (const [what, mail] of odd) {
      // Nothing but the trace stands before the mail, and nothing behind it.
      const same = got.filter(({ bytes }) => senderBefore(mail, bytes) === from);
      expect(same, `${what} at ${member.pop3}`).toHaveLength(1);
    }
  }
});

test("UIDLs stay through failover, restart and rebalancing, and are never used again (P5)", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers(["kept"]);
  const seen = new Set<string>();
  const mail = (n: number) => latin1(`Subject: ${n}\r\n\r\n${n}\r\n`);
  for (let n = 0; n < 6; n += 1) await send(ring, n % 3, "kept", mail(n));

  const uidsAt = async (index: number) => {
    const client = await loginWhenFree(ring.member(index).pop3, "kept", password);
    const uids = await client.uidl();
    await client.quit();
    return uids;
  };
  const uids = await uidsAt(0);
  expect(new Set(uids).size).toBe(6);
  for (const uid of uids) seen.add(uid);

  await ring.member(0).kill("SIGKILL");
  for (const index of [1, 2]) expect(await uidsAt(index)).toEqual(uids);
  await ring.member(0).restart();
  await ring.settled();
  for (const member of ring.members) {
    await member.kill("SIGTERM");
    await member.restart();
  }
  await ring.settled();
  const newcomer = await ring.grow();
  await ring.copiesEqual(["kept"], { copies: 3 });
  for (const index of ring.members.keys()) expect(await uidsAt(index)).toEqual(uids);

  const client = await loginWhenFree(newcomer.pop3, "kept", password);
  await client.expect("DELE 1");
  await client.expect("DELE 6");
  await client.quit();
  for (let n = 6; n < 10; n += 1) await send(ring, n % 3, "kept", mail(n));
  const after = await uidsAt(1);
  expect(after.slice(0, 4)).toEqual(uids.slice(1, 5));
  expect(after).toHaveLength(8);
  for (const uid of after.slice(4)) expect(seen.has(uid)).toBe(false);
}, 240_000);
