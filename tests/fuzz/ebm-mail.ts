/** Mails with packets, as gateways and strangers change them: read, refused, or passed over, and never believed when changed. */
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import {
  composeMail,
  EbmFormatError,
  encodeFrames,
  type Frame,
  openPacket,
  readMail,
  sealPacket,
} from "../../src/ebm/index.js";
import { readBounce } from "../../src/sdk/link/bounces.js";
import { gateways } from "../simulation/link-gateways.js";
import { bounceOf } from "../simulation/link-post.js";
import { check, fuzzer } from "./fuzzer.js";
import { mutated } from "./octets.js";

const { privateKey } = generateKeyPairSync("ed25519");
const frames: readonly Frame[] = [
  {
    kind: "data",
    ...{ stream: "main", sequence: 1, id: "0190", offset: 0, size: 300 },
    ...{ properties: { sentAtMs: 1 }, octets: Buffer.alloc(300, "abc=\r\n.") },
  },
];
const packet = sealPacket({
  header: {
    ...{ connection: "k3f9", packet: 17, to: "bob@ring.test", expiresAtMs: 2_000 },
    from: { user: "ann@ring.test", device: "laptop", epoch: 1 },
  },
  ...{ frames, privateKey },
});
const mail = composeMail({
  ...{ from: "ann@x.test", to: "bob@y.test", messageId: "1@x.test", date: new Date(0), packet },
  index: { connection: "k3f9", packet: 17, type: "data" },
});
let number = 0;
const random = () => (number = (number + 0.37) % 1);
const bases = [
  mail,
  bounceOf("1@x.test", "failed", "5.1.1"),
  ...Object.values(gateways).map((gateway) =>
    Buffer.from(gateway(mail.toString("latin1"), random), "latin1"),
  ),
];
const tokens = [
  ...["--=_ebm\r\n", "--=_ebm--\r\n", "\r\n\r\n", "boundary=", '"', "=\r\n", "=0D", " \r\n", "("],
  ...["Content-Type: application/vnd.ebm\r\n", "Content-Transfer-Encoding: 8bit\r\n", "=", "==="],
  ...["Content-Type: multipart/mixed; boundary==_ebm\r\n", "Content-Type: message/rfc822\r\n\r\n"],
  ...["Subject: ", '{"ebm":1,"c":"k3f9","n":17,"t":"d"}', "Action: failed\r\n", "\0", "\r", "\n"],
];

export const ebmGateways = fuzzer({
  name: "ebm-gateways",
  testRuns: 400,
  inputs: fc.record({ octets: mutated(bases, tokens) }),
  run({ octets }) {
    const changed = Buffer.from(octets);
    readBounce(changed);
    try {
      const read = readMail(changed);
      if (read.index) check(/^[\w-]{1,32}$/.test(read.index.connection), () => "a strange index");
      if (!read.packet) return;
      // What can be opened is what was sealed.
      const opened = openPacket(read.packet, 1_000);
      const form = { isChained: false };
      const same = encodeFrames(opened.frames, form).equals(encodeFrames(frames, form));
      check(same, () => "it was changed");
    } catch (error) {
      check(error instanceof EbmFormatError, () => `not an EbmFormatError: ${String(error)}`);
      const text = (error as Error).message;
      check(/^[ -~]{1,200}$/.test(text), () => `not one line: ${text}`);
    }
  },
});
