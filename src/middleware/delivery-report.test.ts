import { simpleParser } from "mailparser";
import { describe, expect, test } from "vitest";
import { readBounce } from "../sdk/link/bounces.js";
import { deliveryReport, type UndeliveredMail } from "./delivery-report.js";

const facts = {
  ...{ postmaster: "postmaster@ring.test", reporter: "mx.ring.test", smartHost: "out.test" },
  ...{ messageId: "01ff.undelivered@ring.test", date: new Date(Date.UTC(2026, 10, 21)) },
};
const mail: UndeliveredMail = {
  ...{ from: "alice@ring.test", to: "ann@else.test", receivedAtMs: Date.UTC(2026, 10, 20) },
  octets: Buffer.from("Subject: s\r\nMessage-ID: <1@x>\r\nX-B: \xe5\r\n\r\nsecret\r\n", "latin1"),
  ...{ why: "550 5.1.1 no such user", isRefused: true },
};
const report = (more: Partial<UndeliveredMail> = {}) =>
  deliveryReport({ ...mail, ...more }, facts).toString("latin1");

test("has the three parts of RFC 3462, the header as it came, and nothing of the text", async () => {
  const parsed = await simpleParser(report());
  expect(parsed.headers.get("auto-submitted")).toBe("auto-replied");
  expect(parsed.messageId).toBe("<01ff.undelivered@ring.test>");
  const text = report();
  expect(
    text
      .match(/^Content-Type: .*$/gm)
      ?.slice(1)
      .map((line) => line.trim()),
  ).toEqual([
    "Content-Type: text/plain; charset=utf-8",
    "Content-Type: message/delivery-status",
    "Content-Type: text/rfc822-headers",
  ]);
  expect(text).toContain("Subject: s\r\nMessage-ID: <1@x>\r\nX-B: \xe5\r\n\r\n--report-");
  expect(text).not.toContain("secret");
  expect(text.replace(/\r\n/g, "")).not.toMatch(/[\r\n]/);
});

test("says what a program needs: RFC 3464 §2", () => {
  expect(readBounce(Buffer.from(report()))).toMatchObject({
    ...{ kind: "failed", status: "5.1.1", diagnostic: "smtp; 550 5.1.1 no such user" },
    messageIds: expect.arrayContaining(["1@x"]),
  });
  expect(report()).toContain("\r\nArrival-Date: Fri, 20 Nov 2026 00:00:00 +0000\r\n\r\nFinal-");
});

describe("the status", () => {
  test.each([
    [{ why: "550 no" }, "5.0.0"],
    [{ why: "a name that can't be said" }, "5.0.0"],
    [{ why: "451 4.3.0 later", isRefused: false }, "4.4.7"],
    [{ why: "connect ECONNREFUSED", isRefused: false }, "4.4.7"],
  ])("%j: %s", (more, status) => {
    expect(report(more)).toContain(`\r\nAction: failed\r\nStatus: ${status}\r\n`);
  });
});

test("names in UTF-8: RFC 6533", () => {
  const text = deliveryReport({ ...mail, to: "jos\u00e9@else.test" }, facts).toString();
  expect(text).toContain("Content-Type: message/global-delivery-status\r\n");
  expect(text).toContain("\r\nFinal-Recipient: utf-8; jos\u00e9@else.test\r\n");
});

test.each([
  ["no header", "\r\nbody", ""],
  ["no body", "Subject: s\r\n", "Subject: s\r\n"],
])("%s", (_what, octets, header) => {
  const text = report({ octets: Buffer.from(octets) });
  expect(text).toContain(`Content-Transfer-Encoding: 8bit\r\n\r\n${header}\r\n--report-`);
});

test("a long header is cut behind a line; nothing that was said makes a line of its own", () => {
  const long = report({ octets: Buffer.from(`${`X: ${"x".repeat(96)}\r\n`.repeat(2_000)}\r\n`) });
  expect(long.length).toBeLessThan(70_000);
  expect(long).toMatch(/x{96}\r\n\r\n--report-[0-9a-z]+--\r\n$/);
  expect(report({ why: "550 a\r\nAction: delivered" })).not.toMatch(/^Action: delivered/m);
});
