/** S7: mails that are made to break those who look into them. The build is what is tested. */
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { createMailViewer } from "../../src/mail-view/viewer.js";
import { longestStall } from "../support/main-thread.js";

const workerUrl = pathToFileURL("dist/src/mail-view/worker.js");
const viewer = createMailViewer({ workerUrl });
afterAll(() => viewer.close());

const deadlineMs = 60_000;
const mail = (...parts: string[]): Buffer => Buffer.from(parts.join(""));

function nested(depth: number): Buffer {
  const open = Array.from(
    { length: depth },
    (_, n) => `Content-Type: multipart/mixed; boundary="b${n}"\r\n\r\n--b${n}\r\n`,
  );
  return mail("MIME-Version: 1.0\r\n", ...open, "Content-Type: text/plain\r\n\r\nhi\r\n");
}

function parts(count: number): Buffer {
  const part = "--b\r\nContent-Disposition: attachment; filename=a\r\n\r\nx\r\n";
  return mail("Content-Type: multipart/mixed; boundary=b\r\n\r\n", part.repeat(count), "--b--\r\n");
}

test("a mail as it is meant to be", async () => {
  const view = await viewer.view(
    mail(
      "From: =?utf-8?q?J=C3=B6rg?= <j@ring.test>\r\nTo: a@ring.test\r\nSubject: =?utf-8?b?R3LDvG4=?=\r\n",
      "Date: Mon, 1 Jan 2024 10:00:00 +0000\r\n",
      'Content-Type: multipart/mixed; boundary="b"\r\n\r\n',
      "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
      '--b\r\nContent-Type: image/png; name="x.png"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n',
    ),
    { deadlineMs },
  );
  expect(view).toMatchObject({
    kind: "parsed",
    from: '"Jörg" <j@ring.test>',
    to: "a@ring.test",
    subject: "Grün",
    date: new Date("2024-01-01T10:00:00Z"),
    text: expect.stringMatching(/^hello\s*$/),
    attachments: [{ name: "x.png", type: "image/png", octets: 3 }],
  });
});

describe("S7: the caller goes on meanwhile, and has an answer in the end", () => {
  const bombs: [string, Buffer, RegExp | "parsed"][] = [
    ["parts nested 40 deep", nested(40), "parsed"],
    ["parts nested 10,000 deep", nested(10_000), /boundaries/],
    ["100,000 parts", parts(100_000), /child nodes/],
    ["a header of 10 MB", mail(`X: ${"y".repeat(1e7)}\r\n\r\nx`), /header size/],
    ["200,000 header lines", mail("X: y\r\n".repeat(200_000), "\r\nx"), /header size/],
    ["200,000 open comments", mail(`To: ${"(".repeat(200_000)}\r\n\r\nx`), "parsed"],
    [
      "HTML, 500,000 scripts",
      mail("Content-Type: text/html\r\n\r\n", "<script>".repeat(500_000)),
      "parsed",
    ],
    [
      "HTML, 1,000,000 open tags",
      mail("Content-Type: text/html\r\n\r\n", "<".repeat(1e6)),
      "parsed",
    ],
  ];
  test.each(bombs)("%s", async (_name, bytes, outcome) => {
    await viewer.view(mail("Subject: warm\r\n\r\n"), { deadlineMs });
    const { result, stallMs } = await longestStall(() => viewer.view(bytes, { deadlineMs }));
    if (outcome === "parsed") expect(result.kind).toBe("parsed");
    else expect(result).toMatchObject({ kind: "unparsable", why: expect.stringMatching(outcome) });
    expect(stallMs).toBeLessThan(100);
  });

  test("memory that a parser does not get ends the parser, not the caller; the next mail is parsed", async () => {
    const text = mail("\r\n", "abc def\r\n".repeat(6e6));
    const view = await viewer.view(text, { deadlineMs });
    expect(view.kind).toBe("unparsable");
    const next = await viewer.view(mail("Subject: next\r\n\r\n"), { deadlineMs });
    expect(next).toMatchObject({ kind: "parsed", subject: "next" });
  });

  test("a deadline that passes is an answer; mails that wait get another parser", async () => {
    const [late, next] = await Promise.all([
      viewer.view(parts(900), { deadlineMs: 1 }),
      viewer.view(mail("Subject: next\r\n\r\n"), { deadlineMs }),
    ]);
    expect(late).toMatchObject({
      kind: "unparsable",
      why: expect.stringMatching(/longer than 1 ms/),
    });
    expect(next).toMatchObject({ kind: "parsed", subject: "next" });
  });

  test("a mail that can't be read is unparsable, and nothing of it comes into the next one", async () => {
    async function* broken(): AsyncIterable<Buffer> {
      yield mail("Subject: broken\r\nX-Left: over\r\n");
      throw new Error("the disk is gone");
    }
    expect(await viewer.view(broken(), { deadlineMs })).toMatchObject({
      kind: "unparsable",
      why: expect.stringMatching(/disk is gone/),
    });
    expect(await viewer.view(mail("To: a@b\r\n\r\nx"), { deadlineMs })).toMatchObject({
      ...{ kind: "parsed", subject: "", to: "a@b" },
    });
  });
});
