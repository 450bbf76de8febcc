/** Over real sockets, on loopback. Others on this machine may answer as well: domains are our own. */
import { createSocket } from "node:dgram";
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { discover, listenForQuestions } from "./index.js";
import { discoveryGroup, discoveryPort, type FoundMember, writeAnswer } from "./message.js";

const log = { debug: () => undefined, warn: () => undefined };
const memberOf = (domain: string, port: number): FoundMember => ({
  ring: randomBytes(16).toString("hex"),
  ...{ domain, bits: 16, replicas: 2, addr: `127.0.0.1:${port}` },
  ...{ smtp: `127.0.0.1:${port + 1}`, pop3: `127.0.0.1:${port + 2}` },
});
const ownDomain = () => `t${randomBytes(8).toString("hex")}.test`;

/** Until they are found: a datagram may be lost on a busy machine. */
async function found(domain: string, count: number): Promise<readonly FoundMember[]> {
  for (let tries = 0; ; tries += 1) {
    const members = await discover({ domain, timeoutMs: 500 });
    if (members.length >= count || tries === 30) return members;
  }
}

test("members of a domain on this machine are found, until they close", async () => {
  const domain = ownDomain();
  const members = [memberOf(domain, 5000), memberOf(domain, 6000), memberOf(ownDomain(), 7000)];
  const listening = await Promise.all(
    members.map((member) => listenForQuestions({ host: "127.0.0.1", member, log })),
  );
  const byAddr = (a: FoundMember, b: FoundMember) => (a.addr < b.addr ? -1 : 1);
  expect([...(await found(domain, 2))].sort(byAddr)).toEqual(members.slice(0, 2));
  await Promise.all(listening.map((one) => one.close()));
  expect(await discover({ domain, timeoutMs: 300 })).toEqual([]);
});

test("garbage, a flood and answers that nobody asked for change nothing", async () => {
  const domain = ownDomain();
  const member = memberOf(domain, 5000);
  const listening = await listenForQuestions({ host: "127.0.0.1", member, log });
  const hostile = createSocket("udp4");
  await new Promise<void>((resolve) => hostile.bind(0, "127.0.0.1", resolve));
  hostile.setMulticastInterface("127.0.0.1");
  const say = (datagram: Uint8Array) =>
    new Promise<void>((resolve) => {
      hostile.send(datagram, discoveryPort, discoveryGroup, () => resolve());
    });
  try {
    const looking = found(domain, 1);
    for (let n = 0; n < 2_000; n += 1) await say(randomBytes(n % 1_400));
    for (const text of ["", "{", "null", "[]", '"x"', '{"ringpost":1}', "9".repeat(1_200)]) {
      await say(Buffer.from(text.padEnd(1_200)));
    }
    await say(writeAnswer("ab".repeat(16), memberOf(domain, 6000)) ?? Buffer.alloc(0));
    expect(await looking).toEqual([member]);
    expect(await found(domain, 1)).toEqual([member]);
  } finally {
    hostile.close();
    await listening.close();
  }
});

test("nobody there, and a caller who does not wait", async () => {
  const cancelled = AbortSignal.abort();
  expect(await discover({ domain: ownDomain(), timeoutMs: 3_600_000, signal: cancelled })).toEqual(
    [],
  );
});
