import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { stat } from "node:fs/promises";
import { afterEach, describe, expect, test } from "vitest";
import { RawClient, start, type Running } from "./testing.js";

let running: Running | undefined;
const open: RawClient[] = [];

afterEach(async () => {
  for (const each of open.splice(0)) each.socket.destroy();
  await running?.server.close();
  running = undefined;
});

async function setUp(limits: NonNullable<Parameters<typeof start>[0]>["limits"] = {}) {
  running = await start({ limits });
  const client = await RawClient.greeted(running.port);
  open.push(client);
  return { client, receiver: running.receiver, port: running.port };
}

/** RFC 5321 §4.5.2 on the sending side. */
function stuffed(body: Buffer): Buffer {
  const text = body.toString("latin1").replace(/(^|\r\n)\./g, "$1..");
  return Buffer.from(`${text}.\r\n`, "latin1");
}

describe("S3: fake ends of data", () => {
  const ends = [
    "\n.\n",
    "\r.\r",
    "\n.\r\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r.\r\n",
    "\n\n.\r\n",
    "\r\r\n.\r\n\n",
  ];
  test.each(ends.map((end) => [end]))(
    "%j: refused, and what is behind it is no mail",
    async (end) => {
      const { client, receiver } = await setUp();
      await client.toData();
      const smuggled =
        "MAIL FROM:<evil@else.test>\r\nRCPT TO:<bob@ring.test>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n";
      client.write(`hello${end}${smuggled}`);
      const replies: string[] = [];
      for (let reply = await client.reply(); reply !== ""; reply = await client.reply()) {
        replies.push(reply);
      }
      expect(replies[0]).toBe("550 5.5.2 bare CR or LF in data");
      // `\r\r\n.\r\n` is an end of data behind a bare CR: what follows are the client's commands.
      expect(receiver.kept.length).toBeLessThanOrEqual(1);
      expect(receiver.kept.filter(({ body }) => body.includes("hello"))).toEqual([]);
      expect(await receiver.spooled()).toEqual([]);
    },
  );

  test("a refused mail leaves the session usable", async () => {
    const { client, receiver } = await setUp();
    await client.toData();
    expect(await client.ask("a\nb\r\n.")).toMatch(/^550 5\.5\.2 /);
    await client.toData();
    expect(await client.ask("a\r\nb\r\n.")).toMatch(/^250 2\.0\.0 /);
    expect(receiver.kept).toHaveLength(1);
  });
});

describe("byte-exact", () => {
  test.each([
    [
      "S9: U+0085, U+2028, U+2029",
      Buffer.from("Subject: \u0085\u2028\u2029\xc3\x85\r\n\r\n\u0085\r\n"),
    ],
    ["S9: octets C3 85", Buffer.from([0x61, 0xc3, 0x85, 0xc2, 0x85, 0x0d, 0x0a])],
    ["P6: NUL and 8 bit", Buffer.from([0, 1, 2, 0x7f, 0x80, 0xff, 0x2e, 0x0d, 0x0a])],
    [
      "P6: lines of 998 octets and 5 kB",
      Buffer.from(`${"x".repeat(998)}\r\n${"y".repeat(5_000)}\r\n`),
    ],
    ["dots of all kinds", Buffer.from(".\r\n..\r\n...\r\n.a\r\n a.\r\n\r\n.\r\n")],
    ["nothing at all", Buffer.alloc(0)],
    ["empty lines", Buffer.from("\r\n\r\n\r\n")],
  ])("%s", async (_name, body) => {
    const { client, receiver } = await setUp();
    await client.toData();
    expect(await client.ask(stuffed(body))).toMatch(/^250 /);
    expect(receiver.kept[0]?.body.equals(body)).toBe(true);
    const digest = createHash("sha256").update(body).digest("hex");
    expect(receiver.deliveries[0]?.body.digest).toBe(digest);
  });

  test("S4: dots split at every TCP boundary", async () => {
    const { client, receiver } = await setUp();
    const body = Buffer.from(".\r\n..\r\n...\r\n");
    const sent = stuffed(body);
    for (let cut = 1; cut < sent.length; cut++) {
      await client.toData();
      client.write(sent.subarray(0, cut));
      await sleep(3); // Lets the kernel send what is there; merging would only weaken the test.
      client.write(sent.subarray(cut));
      expect(await client.reply()).toMatch(/^250 /);
    }
    expect(receiver.kept).toHaveLength(sent.length - 1);
    expect(receiver.kept.every((kept) => kept.body.equals(body))).toBe(true);
  });

  test("25 MB of anything, through a spool file of mode 0600", async () => {
    const { client, receiver } = await setUp();
    const line = randomBytes(57).toString("base64");
    const body = Buffer.from(`${line}\r\n`.repeat(330_000));
    let mode = 0;
    receiver.refuse = () => undefined;
    const deliver = receiver.deliver.bind(receiver);
    receiver.deliver = async (delivery) => {
      if (delivery.body.kind === "file") {
        const { mode: bits, size } = await stat(delivery.body.path);
        mode = bits & 0o777;
        expect(size).toBe(delivery.body.octets);
      }
      return deliver(delivery);
    };
    await client.toData();
    expect(await client.ask(stuffed(body))).toMatch(/^250 /);
    expect(receiver.kept[0]?.body.equals(body)).toBe(true);
    expect(receiver.deliveries[0]?.body).toMatchObject({
      kind: "file",
      octets: body.length,
      digest: createHash("sha256").update(body).digest("hex"),
    });
    expect(mode).toBe(0o600);
  });

  test("around the limit of what stays in memory, octet by octet", async () => {
    const { client, receiver } = await setUp({ inlineBodyOctetsMax: 100 });
    for (const size of [98, 100, 102, 300]) {
      const body = Buffer.from(`${"x".repeat(size - 2)}\r\n`);
      await client.toData();
      for (const octet of stuffed(body)) client.write(Buffer.from([octet]));
      expect(await client.reply()).toMatch(/^250 /);
      expect(receiver.kept.at(-1)?.body.equals(body)).toBe(true);
      expect(receiver.deliveries.at(-1)?.body.kind).toBe(size > 100 ? "file" : "bytes");
    }
  });

  test("over what all connections together may keep in memory: to the spool at once", async () => {
    const { client, receiver } = await setUp({ bodyMemoryOctetsMax: 10 });
    for (let run = 0; run < 2; run++) {
      for (const [text, kind] of [
        ["1234567890123", "file"],
        ["12345", "bytes"],
      ] as const) {
        await client.toData();
        expect(await client.ask(`${text}\r\n.`)).toMatch(/^250 /);
        expect(receiver.deliveries.at(-1)?.body.kind).toBe(kind);
        expect(receiver.kept.at(-1)?.body.toString()).toBe(`${text}\r\n`);
      }
    }
  });
});

describe("S23: too large", () => {
  test.each([[""], [" SIZE=10"]])(
    "MAIL%s that lies: drained, 552, nothing is left",
    async (size) => {
      const { client, receiver } = await setUp({
        messageOctetsMax: 100_000,
        inlineBodyOctetsMax: 1_000,
      });
      await client.toData(["alice@ring.test"], size);
      const body = Buffer.from(`${"x".repeat(98)}\r\n`.repeat(50_000));
      expect(await client.ask(stuffed(body))).toBe("552 5.3.4 a mail has at most 100000 octets");
      expect(receiver.deliveries).toEqual([]);
      expect(await receiver.spooled()).toEqual([]);
      expect(await client.ask("MAIL FROM:<bob@else.test>")).toMatch(/^250 /);
    },
  );

  test("exactly the limit is not too large", async () => {
    const { client } = await setUp({ messageOctetsMax: 1_000 });
    await client.toData();
    expect(await client.ask(stuffed(Buffer.from(`${"x".repeat(998)}\r\n`)))).toMatch(/^250 /);
    await client.toData();
    expect(await client.ask(stuffed(Buffer.from(`${"x".repeat(999)}\r\n`)))).toMatch(/^552 /);
  });
});

describe("a spool that fails", () => {
  test.each([
    ["/dev/full", /^45[12] 4\.3\.[01] /],
    ["/nonexistent/spool/file", /^451 4\.3\.0 /],
  ])("%s", async (path, reply) => {
    const { client, receiver } = await setUp({ inlineBodyOctetsMax: 10 });
    receiver.spoolPath = () => path;
    await client.toData();
    expect(await client.ask("much more than ten octets\r\n.")).toMatch(reply);
    expect(receiver.deliveries).toEqual([]);
    expect(await client.ask("NOOP")).toMatch(/^250 /);
  });
});

test("memory stays flat during a mail of 60 MB", async () => {
  const { client, receiver } = await setUp();
  receiver.deliver = async () => ({ kind: "tempfail", why: "not kept" });
  await client.toData();
  const block = Buffer.from(`${"x".repeat(998)}\r\n`.repeat(60));
  const send = async (blocks: number) => {
    for (let i = 0; i < blocks; i++) {
      if (!client.socket.write(block)) {
        await new Promise((resolve) => client.socket.once("drain", resolve));
      }
    }
  };
  await send(100);
  const before = process.memoryUsage();
  await send(900);
  const after = process.memoryUsage();
  client.write(".\r\n");
  expect(await client.reply()).toMatch(/^451 /);
  const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed;
  expect(grown).toBeLessThan(30_000_000);
});
