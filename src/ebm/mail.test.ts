import { performance } from "node:perf_hooks";
import { describe, expect, test } from "vitest";
import { gateways } from "../../tests/simulation/link-gateways.js";
import { composeMail, readMail } from "./index.js";

const index = { connection: "k3f9", packet: 17, type: "data" } as const;
const mailOf = (packet: Buffer): Buffer =>
  composeMail({
    ...{ from: "ann@x.test", to: "bob@y.test", messageId: "1@x.test", date: new Date(0) },
    ...{ index, packet },
  });
const packet = Buffer.from(Array.from({ length: 1_000 }, (_, at) => (at * 7 + (at >> 3)) % 256));

describe("a packet is found in a mail that was", () => {
  test.each(Object.entries(gateways))("%s", (_, gateway) => {
    let number = 0;
    const changed = gateway(
      mailOf(packet).toString("latin1"),
      () => (number = (number + 0.37) % 1),
    );
    expect(changed).not.toBe(mailOf(packet).toString("latin1"));
    expect(readMail(Buffer.from(changed, "latin1"))).toEqual({ index, packet });
  });

  test("given a general type, with its file's name", () => {
    const changed = mailOf(packet)
      .toString()
      .replace("application/vnd.ebm", "application/octet-stream");
    expect(readMail(Buffer.from(changed)).packet).toEqual(packet);
  });

  test("written under, within the part", () => {
    const changed = mailOf(packet)
      .toString()
      .replace("\r\n--=_ebm--", "\r\n\r\nScanned by us\r\n--=_ebm--");
    expect(readMail(Buffer.from(changed)).packet).toEqual(packet);
  });
});

test.each([
  ["nothing", ""],
  ["a text about packets", "Subject: x\r\n\r\nContent-Type: application/vnd.ebm\r\n\r\nAAAA\r\n"],
  [
    "parts without end",
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\n".repeat(9_000)}`,
  ],
  [
    "parts in parts",
    Array.from(
      { length: 50 },
      (_, at) => `Content-Type: multipart/mixed; boundary=b${at}\r\n\r\n--b${at}\r\n`,
    ).join(""),
  ],
])("%s: there is none", (_, text) => {
  expect(readMail(Buffer.from(text)).packet).toBeUndefined();
});

describe("mails of 30 MB are read in CPU time that a loop can bear:", () => {
  const megabyte = 1024 * 1024;
  const large = Buffer.alloc(22 * megabyte, packet);
  const hostile: readonly (readonly [string, () => Buffer])[] = [
    ["a packet", () => mailOf(large)],
    ["empty lines", () => Buffer.alloc(30 * megabyte, "\r\n")],
    [
      "boundaries",
      () =>
        Buffer.concat([
          Buffer.from("Content-Type: multipart/mixed; boundary=b\r\n\r\n"),
          Buffer.alloc(30 * megabyte, "\n--b x"),
        ]),
    ],
    [
      "one header",
      () => Buffer.concat([Buffer.from("Subject: "), Buffer.alloc(30 * megabyte, "\r\n ")]),
    ],
    [
      "equals signs",
      () =>
        Buffer.concat([
          Buffer.from(
            "Content-Type: application/vnd.ebm\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
          ),
          Buffer.alloc(30 * megabyte, "= "),
        ]),
    ],
  ];
  test.each(hostile)("%s", (name, make) => {
    const mail = make();
    const before = process.cpuUsage();
    const startedMs = performance.now();
    readMail(mail);
    const { user, system } = process.cpuUsage(before);
    const ms = Math.min((user + system) / 1_000, performance.now() - startedMs);
    if (process.env["RINGPOST_FIGURES"]) console.log(name, ms);
    expect(ms).toBeLessThan(5_000);
  });
});
