/** Mails of any shape, read for people: one answer each, bounded, whatever was in them. */
import fc from "fast-check";
import { MailReading } from "../../src/mail-view/reading.js";
import { type MailView, viewLimits } from "../../src/mail-view/view.js";
import { visibleLine, visibleLines } from "../../src/cli/visible.js";
import { check, fuzzer } from "./fuzzer.js";
import { cutAt, cuts, mutated } from "./octets.js";

const mails = [
  'From: =?utf-8?q?J=C3=B6rg?= <j@a.test>\r\nTo: "x, y" <x@y.test>, z: a@b, c@d;\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nSubject: =?utf-8?b?R3LDvG4=?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain; charset=iso-8859-1; format=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=FCn=\r\n \r\n--c\r\nContent-Type: text/html; charset=utf-7\r\n\r\n<p>a<br>&#228;</p>\r\n--c--\r\n--b\r\nContent-Type: image/png; name*=utf-8\'\'%e2%82%ac.png\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nAAAA\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nin\r\n--b--\r\n',
  "Subject: plain\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\u001b$B\u001b(B\r\n",
  "Content-Type: text/html\r\n\r\n<style>x</style><!-- --><script>y</script><p>z\r\n",
];
const tokens = [
  ...[
    "--b\r\n",
    "--b--\r\n",
    "\r\n\r\n",
    "boundary=",
    '"',
    "=?utf-8?q?",
    "?=",
    "(",
    ")",
    "<",
    ">",
    ";",
  ],
  ...[
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "charset=utf-16\r\n",
    "=00",
    "\u001b[2J",
    "\0",
    ":",
  ],
  ...[
    "Content-Transfer-Encoding: base64\r\n",
    "__proto__: x\r\n",
    "begin 644 a\r\n",
    "*0*=",
    "List-Id: <>\r\n",
  ],
];

export const mailView = fuzzer({
  name: "mail-view",
  testRuns: 150,
  inputs: fc.record({ octets: mutated(mails, tokens), cuts }),
  async run({ octets, cuts: at }) {
    const views: MailView[] = [];
    let tell: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const reading = new MailReading((view) => {
      views.push(view);
      tell();
    });
    for (const piece of cutAt(octets, at)) await reading.take(piece);
    reading.end();
    await answered;
    await new Promise((resolve) => setImmediate(resolve));
    check(views.length === 1, () => `${views.length} answers`);
    const [view] = views;
    if (view?.kind !== "parsed") {
      check(/^[ -~]{0,200}$/.test(view?.why ?? ""), () => `not one line: ${view?.why}`);
      return;
    }
    check(view.text.length <= viewLimits.textCharsMax, () => "too much text");
    check(Object.getPrototypeOf({}) === Object.prototype, () => "the prototype was touched");
    const { from, to, cc, subject, text, attachments } = view;
    const names = attachments.map(({ name, type }) => `${name} ${type}`);
    for (const line of [from, to, cc, subject, ...names]
      .map(visibleLine)
      .concat(visibleLines(text))) {
      check(
        !/[\p{Cc}\p{Cs}\u202a-\u202e]/u.test(line),
        () => `drives a terminal: ${JSON.stringify(line)}`,
      );
    }
  },
});
