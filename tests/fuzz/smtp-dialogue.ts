/**
 * The SMTP listener over real sockets. The oracle walks the octets that were sent beside the replies
 * that came: each command line has exactly one reply, data is what follows a 354, and the receiver
 * got exactly the mails whose end of data was answered with 250, octet for octet.
 */
import { rmSync } from "node:fs";
import fc from "fast-check";
import { FakeReceiver, silentLog } from "../../src/smtp/testing.js";
import { createSmtpServer, type SmtpServer } from "../../src/smtp/server.js";
import { exchange } from "./exchange.js";
import { check, fuzzer } from "./fuzzer.js";
import { cutAt, cuts, latin1, mutated, tokenSoup } from "./octets.js";
import { dataTokens, referenceData } from "./smtp-data.js";

const commandOctetsMax = 4_096;

const dialogues = [
  "EHLO a.test\r\nMAIL FROM:<b@c.test>\r\nRCPT TO:<alice@ring.test>\r\nDATA\r\nSubject: x\r\n\r\n.a\r\n..\r\n.\r\nQUIT\r\n",
  "HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<noone@ring.test>\r\nRCPT TO:<alice@ring.test>\r\nRCPT TO:<x@else.test>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<b@c.test> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<alice@ring.test>\r\nDATA\r\ny\r\n.\r\nNOOP\r\nRSET\r\nVRFY a\r\nHELP\r\nQUIT\r\n",
  'EHLO a.test\r\nMAIL FROM:<\u00e9@c.test> SMTPUTF8\r\nRCPT TO:<"alice"@ring.test>\r\nRCPT TO:<undecided@ring.test>\r\nDATA\r\n\r\n.\r\n',
  "EHLO a\r\nDATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<a@b.c>\r\nMAIL FROM:<a@b.c>\r\nDATA\r\nRSET\r\nDATA\r\nQUIT\r\n",
];
const tokens = [
  ...dataTokens,
  ...["EHLO x\r\n", "HELO x\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<alice@ring.test>\r\n"],
  ...["DATA\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "VRFY\r\n", "HELP\r\n", "AUTH PLAIN x\r\n"],
  ...["STARTTLS\r\n", "BDAT 5\r\n", "XCLIENT A=b\r\n", "PROXY TCP4\r\n", "\r\n.\r\n", "\0", "\xff"],
  ...["GET / HTTP/1.1\r\n", "x".repeat(5_000), " ", "<", ">", '"', ":", "=", "\u2028", "EXPN\r\n"],
];

let server: SmtpServer;
let receiver: FakeReceiver;
let port = 0;

export const smtpDialogue = fuzzer({
  name: "smtp-dialogue",
  testRuns: 150,
  inputs: fc.record({
    octets: fc.oneof(mutated(dialogues, tokens), tokenSoup(tokens)),
    cuts,
  }),
  async open() {
    receiver = FakeReceiver.create();
    const sizes = { commandOctetsMax, inlineBodyOctetsMax: 200 };
    const limits = { ...sizes, greetingHoldMs: 0, resetWaitMs: 1 };
    server = createSmtpServer({ name: "mx.ring.test", receiver, log: silentLog, limits });
    ({ port } = await server.listen({ host: "127.0.0.1", port: 0 }));
  },
  async close() {
    await server.close();
    rmSync(receiver.spool, { recursive: true, force: true });
  },
  async run({ octets, cuts: at }) {
    receiver.deliveries.length = 0;
    receiver.kept.length = 0;
    receiver.outcomes.length = 0;
    const said = await exchange(port, cutAt(octets, at), { greeting: true });
    const mails = judge(latin1(octets), repliesOf(said));
    const taken = receiver.deliveries.length;
    check(taken === mails.length, () => `${taken} mails were taken, ${mails.length} answered`);
    // A mail to several mailboxes is kept several times.
    const bodies = [...new Set(receiver.kept.map(({ body }) => body.toString("latin1")))];
    const ended = new Set(mails);
    for (const body of bodies) check(ended.has(body), () => `kept ${JSON.stringify(body)}`);
    for (const mail of ended) check(bodies.includes(mail), () => `lost ${JSON.stringify(mail)}`);
  },
});

interface Heard {
  readonly code: number;
}

/** RFC 5321 §4.2.1; with RFC 5321 §4.5.3.1.5 for the length. */
function repliesOf(said: string): Heard[] {
  const replies: Heard[] = [];
  let rest = said;
  while (rest !== "") {
    const [whole, code] =
      /^(?:(\d{3})-[\x20-\x7e\x80-\xff]{0,505}\r\n)*(?:[2345]\d\d)(?: [\x20-\x7e\x80-\xff]{0,505})?\r\n/.exec(
        rest,
      ) ?? [];
    check(whole !== undefined, () => `no reply: ${JSON.stringify(rest.slice(0, 200))}`);
    const codes = new Set(whole.split("\r\n").flatMap((line) => line.slice(0, 3) || []));
    check(codes.size === 1, () => `one reply with several codes: ${whole}`);
    replies.push({ code: Number(code ?? whole.slice(0, 3)) });
    rest = rest.slice(whole.length);
  }
  return replies;
}

/** The mails that were answered with 250, in order. @throws when replies and lines don't match. */
function judge(sent: string, replies: readonly Heard[]): string[] {
  const queue = [...replies];
  check(queue.shift()?.code === 220, () => "no greeting");
  const mails: string[] = [];
  let rest = sent;
  const hungUp = (code: number): boolean => {
    if (code !== 421 && code !== 221) return false;
    check(queue.length === 0, () => "a reply after the last one");
    return true;
  };
  for (;;) {
    const end = rest.indexOf("\n");
    if (end < 0) break;
    const line = rest.slice(0, end);
    rest = rest.slice(end + 1);
    const reply = queue.shift();
    check(reply !== undefined, () => `no reply to ${JSON.stringify(line.slice(0, 100))}`);
    if (hungUp(reply.code)) return mails;
    if (reply.code !== 354) continue;
    const data = referenceData(rest);
    if (data.end === undefined) break;
    rest = rest.slice(data.end);
    const verdict = queue.shift();
    check(verdict !== undefined, () => "no reply to the end of data");
    if (data.bare) check(verdict.code === 550, () => `${verdict.code} to bare CR or LF`);
    else if (verdict.code === 250) mails.push(data.content);
    if (hungUp(verdict.code)) return mails;
  }
  // To a client that ends its side behind a 250, which may be one that gave up: a last word shows it.
  if (mails.length > 0 && queue[0]?.code === 221) queue.shift();
  check(queue.length === 0, () => `replies to nothing: ${JSON.stringify(queue)}`);
  return mails;
}
