/** Bounds of what a client may send or ask for. Those of time are in `session.test.ts`. */
import { afterEach, describe, expect, test } from "vitest";
import { formatReply } from "./replies.js";
import type { SmtpLimits } from "./limits.js";
import { RawClient, start, type Running } from "./testing.js";

let running: Running;
let client: RawClient;

async function setUp(limits: Partial<SmtpLimits>): Promise<void> {
  running = await start({ limits });
  client = await RawClient.greeted(running.port);
}

afterEach(async () => {
  client.socket.destroy();
  await running.server.close();
});

describe("a header over its limit: 552, and the session lives", () => {
  const headerOctetsMax = 10_000;
  test.each([
    ["many lines", "X: y\r\n".repeat(2_000)],
    ["one line", `X: ${"y".repeat(20_000)}\r\n`],
    ["one field of many lines", `X: y\r\n${" y\r\n".repeat(3_000)}`],
  ])("%s", async (_what, header) => {
    await setUp({ headerOctetsMax, inlineBodyOctetsMax: 1_000 });
    await client.toData();
    expect(await client.ask(`${header}\r\nbody\r\n.`)).toBe(
      "552 5.3.4 a header has at most 10000 octets",
    );
    expect(running.receiver.deliveries).toEqual([]);
    expect(await running.receiver.spooled()).toEqual([]);
    await client.toData();
    expect(await client.ask("Subject: x\r\n\r\nhi\r\n.")).toMatch(/^250 /);
  });

  test.each([
    ["exactly the limit", `X: ${"y".repeat(9_995)}\r\n\r\n`],
    ["a long body", `X: y\r\n\r\n${"X: y\r\n".repeat(5_000)}`],
    ["a long text without a header", `${"x".repeat(100)}\r\n`.repeat(500)],
  ])("not so %s", async (_what, text) => {
    await setUp({ headerOctetsMax });
    await client.toData();
    expect(await client.ask(`${text}.`)).toMatch(/^250 /);
  });
});

describe("what leads nowhere ends", () => {
  test("commands without a mail", async () => {
    await setUp({ commandsPerMailMax: 10 });
    for (let i = 0; i < 10; i++) expect(await client.ask("NOOP")).toMatch(/^250 /);
    expect(await client.ask("NOOP")).toBe("421 4.7.0 too many commands without a mail");
    expect(await client.reply()).toBe("");
  });

  test("errors without a mail", async () => {
    await setUp({ errorsPerMailMax: 5 });
    for (let i = 0; i < 5; i++) expect(await client.ask("RCPT TO:<a@b>")).toMatch(/^503 /);
    expect(await client.ask("NOOP")).toBe("421 4.7.0 too many errors");
    expect(await client.reply()).toBe("");
  });

  test("a mail that was taken begins the counts anew", async () => {
    await setUp({ commandsPerMailMax: 6, errorsPerMailMax: 2 });
    for (let i = 0; i < 5; i++) {
      expect(await client.ask("VRFY")).toMatch(/^501 /);
      await client.toData();
      expect(await client.ask("hi\r\n.")).toMatch(/^250 /);
    }
  });

  test("a mail that was not taken does not", async () => {
    await setUp({ commandsPerMailMax: 6 });
    running.receiver.refuse = () => ({ kind: "full" });
    await client.toData();
    expect(await client.ask("hi\r\n.")).toMatch(/^452 4\.3\.1 /);
    await client.ask("NOOP");
    await client.ask("NOOP");
    expect(await client.ask("NOOP")).toMatch(/^421 4\.7\.0 /);
  });

  test("a session, though it sends mail after mail", async () => {
    await setUp({ sessionMs: 2_000, sweepIntervalMs: 5 });
    let reply = "";
    while (!reply.startsWith("421") && !client.ended) {
      await client.toData();
      reply = await client.ask("hi\r\n.");
    }
    await client.closed();
    expect(running.receiver.kept.length).toBeGreaterThan(0);
  });
});

test("a challenge is told whole, other texts are cut", async () => {
  await setUp({});
  expect(formatReply(334, "", ["A".repeat(1_000)])).toBe(`334 ${"A".repeat(1_000)}\r\n`);
  expect(formatReply(550, "5.1.1", ["A".repeat(1_000)])).toHaveLength(400 + 12);
});
