/**
 * A whole node, asked from outside. K1, K2, R4 and R5 are in tests/cluster/refusals.test.ts, K4 in
 * rolling-restart.test.ts, R9 in frozen.test.ts and pop3-failover.test.ts.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chord, chordOk, status } from "../support/chord.js";
import { domain, password } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";

const scope = ringScope("file");

test("a member tells how long its event loop stood still", async () => {
  const ring = await scope.start({ members: 1, replicas: 0 });
  const [member] = (await status(ring.entry.addr)).members;
  expect(member?.stallMs).toBeGreaterThanOrEqual(0);
  expect(Number.isInteger(member?.stallMs)).toBe(true);
});

test("a mail that would drive a terminal is shown by chord mail, not obeyed (S7)", async () => {
  const ring = await scope.start({ members: 1, replicas: 0 });
  await ring.addUsers(["ann"]);
  const evil = "\u001b]0;owned\u0007\u001b[2J";
  const nested = Array.from(
    { length: 10_000 },
    (_, n) => `Content-Type: multipart/mixed; boundary=b${n}\r\n\r\n--b${n}\r\n`,
  );
  const mails = [
    `Subject: one ${evil}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntext ${evil}\r\n`,
    `Subject: two\r\n${nested.join("")}${evil}\r\n`,
  ];
  for (const mail of mails) {
    const reply = await sendMail(
      ring.entry.smtp,
      { from: "", to: [`ann@${domain}`] },
      Buffer.from(mail),
    );
    expect(reply).toMatch(/^250 /);
  }
  const login = ["--pop3", ring.entry.pop3, "--user", "ann", "--password-stdin"];
  const stdin = `${password}\n`;
  const list = await chordOk(["mail", "list", ...login], { stdin });
  expect(list.split("\n").slice(1, 3)).toEqual([
    expect.stringMatching(/^ *1 .*one \^\[\]0;owned\^G/),
    expect.stringMatching(/^ *2 .*two/),
  ]);
  const read = await chordOk(["mail", "read", "1", ...login], { stdin });
  expect(read).toMatch(/^Subject: one \^\[\]0;owned\^G\^\[\[2J$/m);
  expect(read).toMatch(/^text \^\[\]0;owned\^G\^\[\[2J$/m);
  const raw = await chordOk(["mail", "read", "2", ...login], { stdin });
  expect(raw).toMatch(/^\(shown as it came: it declares more than 1000 boundaries\)$/m);
  for (const said of [list, read, raw]) expect(said.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
});

test.each([
  ['{\n  "bits": 8,\n  "colour": "red"\n}', /conf:3: unknown key "colour"/],
  ['{"bits": "eight"}', /conf:1: "bits" must be a number, not a text/],
  ['{"bits": true}', /conf:1: "bits" must be a number.*not true/],
  ['{"bits": 8', /conf:1:11: expected , or }/],
])("K1: a conf file that says %s", async (text, says) => {
  const ring = await scope.start({ members: 0 });
  const conf = join(ring.folder, "conf");
  writeFileSync(conf, text);
  const result = await chord(["--conf", conf], { deadlineMs: 60_000 });
  expect(result.code).toBe(2);
  const lines = result.stderr.split("\n").filter((line) => line !== "");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(says);
});
