import { describe, expect, test } from "vitest";
import fc from "fast-check";
import type { MessageId } from "../shared/ids.js";
import { passwordsMayCome } from "./authentication.js";
import { parsePathArguments } from "./command-arguments.js";
import { Deadlines } from "./deadlines.js";
import { EarlyTalkers } from "./early-talkers.js";
import { formatReply } from "./replies.js";
import { Settlement } from "./settlement.js";
import { protocolOf, traceLines, type TraceFacts } from "./trace.js";

const facts: TraceFacts = {
  sender: "bob@else.test",
  recipient: "alice@ring.test",
  helo: "client.test",
  clientAddress: "192.0.2.1",
  serverName: "mx.ring.test",
  nodeText: undefined,
  protocol: "ESMTP",
  id: "0123456789abcdef0123456789abcdef" as MessageId,
  receivedAt: new Date(Date.UTC(2026, 10, 1, 2, 3, 4)),
};

describe("trace (RFC 5321 §4.4)", () => {
  test("is folded, and each line ends in CRLF", () => {
    expect(traceLines({ ...facts, nodeText: "1234", clientAddress: "2001:db8::1" })).toBe(
      [
        "Return-Path: <bob@else.test>",
        "Received: from client.test ([IPv6:2001:db8::1]) by mx.ring.test (node 1234)",
        "\twith ESMTP id 0123456789abcdef0123456789abcdef for <alice@ring.test>;",
        "\tSun, 01 Nov 2026 02:03:04 +0000",
        "",
      ].join("\r\n"),
    );
  });

  test("the null sender is `<>`", () => {
    expect(traceLines({ ...facts, sender: "" })).toMatch(/^Return-Path: <>\r\n/);
  });

  test("whatever strangers say, it is two header fields of lines that end in CRLF", () => {
    const hostile = fc.string({ unit: "binary", maxLength: 300 });
    fc.assert(
      fc.property(hostile, hostile, hostile, (sender, recipient, helo) => {
        const lines = traceLines({ ...facts, sender, recipient, helo }).split("\r\n");
        expect(lines.pop()).toBe("");
        expect(lines.filter((line) => !line.startsWith("\t"))).toHaveLength(2);
        for (const line of lines) expect(line).not.toMatch(/[\r\n\u0085\u2028\u2029\0]/);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a hostile helo closes no comment and begins no clause", () => {
    expect(traceLines({ ...facts, helo: "x) by evil; (\r\nX: y" })).toContain(
      "from x??by?evil?????X:?y ([192.0.2.1])",
    );
  });
});

describe("replies", () => {
  test("the last of many lines has a space", () => {
    expect(formatReply(250, "", ["a", "b"])).toBe("250-a\r\n250 b\r\n");
  });

  test("a text is one line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const reply = formatReply(451, "4.3.0", [text]);
        expect(reply.match(/[\r\n]/g)).toHaveLength(2);
        expect(reply.startsWith("451 4.3.0 ")).toBe(true);
      }),
    );
  });
});

describe("arguments of MAIL and RCPT", () => {
  test("never throw, and parse what they were made of", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (octets) => {
        parsePathArguments(Buffer.concat([Buffer.from("MAIL FROM:<"), octets]), "MAIL FROM:");
        parsePathArguments(Buffer.from(octets), "RCPT TO:");
      }),
      { numRuns: 3_000 },
    );
    expect(parsePathArguments(Buffer.from("rcpt to:<a@b> X=1 y"), "RCPT TO:")).toEqual({
      kind: "path",
      path: "a@b",
      utf8: false,
      parameters: [
        ["X", "1"],
        ["Y", undefined],
      ],
    });
  });

  test("a long hostile path takes no time to speak of", () => {
    for (const piece of ['"\\', '""', "@a,", "<", '"a']) {
      const line = Buffer.from(`MAIL FROM:<${piece.repeat(2_000)}`);
      const began = process.cpuUsage();
      parsePathArguments(line, "MAIL FROM:");
      parsePathArguments(Buffer.concat([line, Buffer.from(">")]), "MAIL FROM:");
      expect(process.cpuUsage(began).user).toBeLessThan(500_000);
    }
  });
});

describe("early talkers", () => {
  const limits = { greetingHoldMs: 3, earlyTalkerHoldMs: 1_000, earlyTalkerMemoryMs: 60_000 };

  test("one that talked early waits longer, for a while; others don't", () => {
    const talkers = new EarlyTalkers(limits);
    talkers.note("192.0.2.1", 0);
    expect(talkers.holdMs("192.0.2.1", 59_999)).toBe(1_000);
    expect(talkers.holdMs("192.0.2.2", 59_999)).toBe(3);
    expect(talkers.holdMs("192.0.2.1", 60_000)).toBe(3);
  });

  test("programs of this host are not held liable for each other", () => {
    const talkers = new EarlyTalkers(limits);
    talkers.note("127.0.0.1", 0);
    talkers.note("::1", 0);
    expect([talkers.holdMs("127.0.0.1", 1), talkers.holdMs("::1", 1)]).toEqual([3, 3]);
  });

  test("remembers ten thousand at most, the latest", () => {
    const talkers = new EarlyTalkers(limits);
    for (let i = 0; i <= 10_000; i++) talkers.note(`2001:db8::${i}`, 0);
    expect(talkers.holdMs("2001:db8::0", 1)).toBe(3);
    expect(talkers.holdMs("2001:db8::1", 1)).toBe(1_000);
  });
});

describe("deadlines (RFC 5321 §4.5.3.2)", () => {
  const limits = {
    handshakeMs: 100,
    commandMs: 300,
    dataBlockMs: 180,
    dataBlockOctets: 1_000,
    transactionMs: 1_800,
    sessionMs: 10_000,
    receiverMs: 60,
  };

  function clocked() {
    const clock = { ms: 0 };
    return { clock, deadlines: new Deadlines(limits, () => clock.ms) };
  }

  test("a command has its time, from the last reply", () => {
    const { clock, deadlines } = clocked();
    clock.ms = 200;
    deadlines.command();
    clock.ms = 500;
    expect(deadlines.check()).toBe(false);
    clock.ms = 501;
    expect(deadlines.check()).toBe(true);
  });

  test("a handshake has its time", () => {
    const { clock, deadlines } = clocked();
    deadlines.handshake();
    clock.ms = 100;
    expect(deadlines.check()).toBe(false);
    clock.ms = 101;
    expect(deadlines.check()).toBe(true);
  });

  test("mail after mail, a session ends; a mail that has begun may end", () => {
    const { clock, deadlines } = clocked();
    clock.ms = 10_001;
    deadlines.transactionOver();
    deadlines.data(0);
    expect(deadlines.check()).toBe(false);
    deadlines.command();
    expect(deadlines.check()).toBe(true);
  });

  test("octets of data are no progress, blocks are", () => {
    const { clock, deadlines } = clocked();
    deadlines.data(0);
    clock.ms = 179;
    deadlines.data(999);
    clock.ms = 181;
    expect(deadlines.check()).toBe(true);
    deadlines.data(1_000);
    expect(deadlines.check()).toBe(false);
    clock.ms = 362;
    expect(deadlines.check()).toBe(true);
  });

  test("progress or not, a transaction ends; the next has its own time", () => {
    const { clock, deadlines } = clocked();
    for (clock.ms = 0; clock.ms <= 1_800; clock.ms += 100) {
      deadlines.command();
      expect(deadlines.check()).toBe(false);
    }
    expect(deadlines.check()).toBe(true);
    deadlines.transactionOver();
    expect(deadlines.check()).toBe(false);
  });

  test("our own slowness is not the client's", () => {
    const { clock, deadlines } = clocked();
    let gaveUp = 0;
    deadlines.receiver(() => {
      gaveUp += 1;
      deadlines.command();
    });
    clock.ms = 60;
    expect([deadlines.check(), gaveUp]).toEqual([false, 0]);
    clock.ms = 5_000;
    expect([deadlines.check(), gaveUp]).toEqual([false, 1]);
  });
});

describe("settlement", () => {
  test("each mail once, whatever happens", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("replied" as const), octets: fc.nat(100) }),
      fc.record({ do: fc.constant("lost" as const), octets: fc.nat(100) }),
      fc.record({ do: fc.constant("command" as const), octets: fc.nat(100) }),
    );
    fc.assert(
      fc.property(fc.array(step), fc.boolean(), (steps, orderly) => {
        const settled: string[] = [];
        const settlement = new Settlement((ids) => settled.push(...ids));
        const asked: string[] = [];
        for (const [index, { do: what, octets }] of steps.entries()) {
          const ids = [`${index}` as MessageId];
          if (what === "command") settlement.command(octets);
          else asked.push(`${index}`);
          if (what === "replied") settlement.replied(ids, octets);
          if (what === "lost") settlement.lost(ids);
        }
        settlement.closed(orderly);
        settlement.closed(orderly);
        expect(settled.sort()).toEqual(asked.sort());
      }),
    );
  });
});

describe("where passwords may come", () => {
  test.each([
    ["loopback", false, "127.0.0.1", "127.0.0.1", true],
    ["loopback", false, "::1", "::1", true],
    ["loopback", false, "127.8.9.1", "127.0.0.1", true],
    ["loopback", false, "192.0.2.1", "127.0.0.1", false],
    ["loopback", false, "127.0.0.1", "192.0.2.1", false],
    ["loopback", false, "127.example.test", "10.0.0.1", false],
    ["loopback", true, "192.0.2.1", "192.0.2.2", true],
    ["never", false, "127.0.0.1", "127.0.0.1", false],
    ["never", true, "127.0.0.1", "127.0.0.1", true],
    ["always", false, "192.0.2.1", "192.0.2.2", true],
  ] as const)("%s, TLS %s, %s to %s: %s", (plainAuth, secure, from, to, may) => {
    const connection = { secure, remoteAddress: from, localAddress: to };
    expect(passwordsMayCome(plainAuth, connection)).toBe(may);
  });
});

describe("the protocol in the trace (RFC 3848, RFC 6531 §4.3)", () => {
  test.each([
    [false, false, false, false, "SMTP"],
    [false, false, true, false, "SMTP"],
    [true, false, false, false, "ESMTP"],
    [true, false, true, false, "ESMTPS"],
    [true, false, false, true, "ESMTPA"],
    [true, false, true, true, "ESMTPSA"],
    [true, true, false, false, "UTF8SMTP"],
    [true, true, true, true, "UTF8SMTPSA"],
  ])("EHLO %s, SMTPUTF8 %s, TLS %s, AUTH %s: %s", (extended, utf8, secure, authenticated, name) => {
    expect(protocolOf({ extended, utf8, secure, authenticated })).toBe(name);
  });
});
