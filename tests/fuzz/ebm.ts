/** EBM/1 in any shape: packets, the mails around them, and the index in their Subject. */
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import {
  composeMail,
  EbmFormatError,
  findIndex,
  fitsSubject,
  type Frame,
  openPacket,
  readMail,
  sealPacket,
  writeSubject,
} from "../../src/ebm/index.js";
import { check, fuzzer } from "./fuzzer.js";
import { latin1, mutated, tokenSoup } from "./octets.js";

const { privateKey } = generateKeyPairSync("ed25519");
const nowMs = 1_800_000_000_000;
const frames: readonly Frame[] = [
  {
    ...{ kind: "data", stream: "s", sequence: 1, id: "m", offset: 0, size: 5 },
    ...{ properties: { sentAtMs: 1, headers: { a: "b" } }, octets: Buffer.from("hello") },
  },
  { kind: "configuration", id: "q", body: { operation: "quota", ask: {} } },
  {
    ...{ kind: "ack", connection: "c", cumulative: 1, ranges: [[3, 4]], windowOctets: 9 },
    ...{ pollMs: 5, consumed: { s: 1 }, dead: [["s", 2]] },
  },
];
const header = {
  ...{ connection: "c", packet: 1, to: "ring@ring.test", expiresAtMs: nowMs + 1_000 },
  ...{ from: { user: "ann@ring.test", device: "d", epoch: 1 }, token: "a.b.c" },
};
/** One short, one whose content is compressed. */
const packets = [frames, Array.from({ length: 20 }, () => frames).flat()].map((some) =>
  sealPacket({ header, frames: some, privateKey }),
);
const packetTokens = [
  "EBM1",
  '"__proto__":{}',
  '"key":',
  "{",
  "}",
  '"',
  "\0",
  "\u00ff\u00ff\u00ff\u00ff",
];

/** Undefined for what is refused in the one way there is. */
function tried<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    check(error instanceof EbmFormatError, () => `not a refusal: ${String(error)}`);
    check(/^[ -~]{3,80}$/.test(error.message), () => `not one line: ${error.message}`);
    return undefined;
  }
}

export const ebmPacket = fuzzer({
  name: "ebm-packet",
  testRuns: 2_000,
  inputs: mutated(packets, packetTokens),
  run(octets) {
    const given = Buffer.from(octets);
    const opened = tried(() => openPacket(given, nowMs));
    const isWhole = packets.some((packet) => packet.equals(given));
    check(isWhole === (opened !== undefined), () => (isWhole ? "refused" : "a change went unseen"));
    check(Object.getPrototypeOf({}) === Object.prototype, () => "the prototype was touched");
  },
});

const mails = packets.map((packet) =>
  composeMail({
    ...{ from: "ann@ring.test", to: "ring@ring.test", messageId: "x@y", date: new Date(nowMs) },
    ...{ packet, index: { connection: "c", packet: 1, type: "configuration" as const } },
  }),
);
const mailTokens = [
  ...["\r\n", "\n", "--=_ebm", "--=_ebm--", "Content-Type: application/vnd.ebm\r\n\r\n", "="],
  ...[
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Transfer-Encoding: x\r\n",
    "\r\n\r\n",
  ],
  ...['Subject: {"ebm":1,"c":"c","n":1,"t":"d"}\r\n', "\0", " ", "\t"],
];

export const ebmMail = fuzzer({
  name: "ebm-mail",
  testRuns: 2_000,
  inputs: mutated(mails, mailTokens),
  run(octets) {
    const given = Buffer.from(octets);
    const read = tried(() => readMail(given));
    check((read?.packet?.length ?? 0) <= given.length, () => "more octets than there are");
    if (read?.packet) tried(() => openPacket(read.packet ?? given, nowMs));
  },
});

const subjectTokens = [
  ...['{"ebm":1,', '"c":"k3f9"', '"n":17', '"t":"d"}', ",", "{", "}", '"', ":", "\r\n ", " ", "\t"],
  ...["[EXTERNAL] ", '"__proto__":', '"n":9007199254740993', '"n":01', '"ebm":2', "\u0000", "Re: "],
];
const index = fc.record({
  connection: fc.stringMatching(/^[A-Za-z0-9_-]{1,16}$/),
  packet: fc.maxSafeNat(),
  type: fc.constantFrom("data" as const, "acknowledgement" as const, "configuration" as const),
});

export const ebmSubject = fuzzer({
  name: "ebm-subject",
  testRuns: 3_000,
  inputs: fc.record({
    subject: fc.oneof(
      tokenSoup(subjectTokens),
      mutated(
        ['{"ebm":1,"c":"k3f9","n":17,"t":"d"}', 'Re: {"ebm":1,"c":"a","n":0,"t":"a"}'],
        subjectTokens,
      ),
    ),
    index,
    around: fc.tuple(fc.constantFrom("", "[EXTERNAL] ", "Re: "), fc.constantFrom("", " (fwd)")),
  }),
  run({ subject, index: written, around: [before, after] }) {
    const found = findIndex(latin1(subject));
    if (found) {
      const again = JSON.stringify(findIndex(writeSubject(found)));
      check(again === JSON.stringify(found), () => `${JSON.stringify(found)} is ${again}`);
      check(Number.isSafeInteger(found.packet), () => `no number: ${found.packet}`);
    }
    check(fitsSubject(written), () => `too long: ${writeSubject(written)}`);
    const read = findIndex(`${before}${writeSubject(written)}${after}`);
    const same = read && JSON.stringify({ ...written }) === JSON.stringify({ ...read });
    check(same === true, () => `${writeSubject(written)} is ${JSON.stringify(read)}`);
  },
});
