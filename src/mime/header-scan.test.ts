import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeaderScan } from "./header-scan.js";

function scan(text: string, cuts: readonly number[] = []) {
  const header = new HeaderScan();
  const octets = Buffer.from(text, "latin1");
  const places = [...cuts, octets.length].sort((a, b) => a - b);
  let from = 0;
  for (const to of places) {
    header.feed(octets.subarray(from, to));
    from = to;
  }
  const { ended, hasDate, hasMessageId } = header;
  return { ended, hasDate, hasMessageId, octets: header.octets };
}

describe("which fields there are", () => {
  test.each([
    ["Date: x\r\nMessage-ID: <a@b>\r\n\r\nbody", true, true],
    ["dAtE : x\r\nMESSAGE-id\t: <a@b>\r\n\r\n", true, true],
    ["Subject: x\r\n\r\nDate: x\r\nMessage-ID: <a@b>\r\n", false, false],
    ["Subject: x\r\n Date: x\r\n\tMessage-ID: <a@b>\r\n\r\n", false, false],
    ["Subject: Date: x\r\n\r\n", false, false],
    ["X-Date: x\r\nDated: x\r\n\r\n", false, false],
    ["Resent-Date: x\r\nResent-Message-ID: <a@b>\r\n\r\n", false, false],
    ["no header at all\r\nDate: x\r\n\r\n", false, false],
    ["\r\nDate: x\r\n\r\n", false, false],
    [" Date: x\r\n\r\n", false, false],
    [": x\r\nDate: x\r\n", false, false],
    ["Subject: x\r\nnot a field\r\nDate: x\r\n\r\n", false, false],
    ["", false, false],
    ["Date", false, false],
    ["Date:", true, false],
  ])("%j", (text, hasDate, hasMessageId) => {
    expect(scan(text)).toMatchObject({ hasDate, hasMessageId });
  });
});

test("the header's length is that of its fields, whatever comes behind", () => {
  const fields = "Subject: x\r\n y\r\nTo: z\r\n";
  expect(scan(fields)).toMatchObject({ ended: false, octets: fields.length });
  expect(scan(`${fields}\r\n${"body ".repeat(1_000)}`)).toMatchObject({
    ended: true,
    octets: fields.length,
  });
});

test("text without a header is no long header, with or without line ends", () => {
  expect(scan("x".repeat(100_000))).toMatchObject({ ended: true });
  expect(scan(`${"x".repeat(98)}\r\n`.repeat(1_000))).toMatchObject({ ended: true });
});

test("one field without an end is a long header", () => {
  expect(scan(`Subject: ${"x".repeat(100_000)}`)).toMatchObject({ ended: false, octets: 100_009 });
});

test("wherever it is cut, it is read the same", () => {
  const piece = fc.constantFrom(
    ...["Date", "Message-ID", ":", " ", "\t", "\r\n", "\n", "x", "\xff", "Subject: y", "\0"],
  );
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(60)), (pieces, places) => {
      const text = pieces.join("");
      const cuts = places.filter((place) => place <= text.length);
      expect(scan(text, cuts)).toEqual(scan(text));
    }),
  );
});
