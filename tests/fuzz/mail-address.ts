/** Mail addresses: one mailbox however it is spelt, and nothing that ends a line anywhere. */
import fc from "fast-check";
import {
  canonicalDomain,
  canonicalMailbox,
  parseAddress,
  parseLogin,
  validateAccountName,
} from "../../src/mime/address.js";
import { check, fuzzer } from "./fuzzer.js";

const served = ["ring.test", "bücher.example"];
const unsafe = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
const part = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'aZ9.+-"\\@İ\u0301ßﬁſ\u212a。\u037e \u2028\u0085\ud800') }),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("alice", "josé", "a".repeat(64), "é".repeat(33), "postmaster", "__proto__"),
);
const host = fc.oneof(
  fc.constantFrom(
    "ring.test",
    "RING.test",
    "bücher.example",
    "xn--bcher-kva.example",
    "[1.2.3.4]",
    "",
  ),
  fc.string({ unit: fc.constantFrom(..."xn-.ü1。ß\u200d"), maxLength: 20 }),
);

export const mailAddress = fuzzer({
  name: "mail-address",
  testRuns: 4_000,
  inputs: fc.record({ local: part, host, tag: part }),
  run({ local, host: domain, tag }) {
    const address = `${local}@${domain}`;
    const parsed = parseAddress(address);
    if (parsed.kind === "invalid") check(!unsafe.test(parsed.why), () => parsed.why);
    else check(!unsafe.test(parsed.local + parsed.domain), () => `unsafe: ${address}`);
    const ascii = canonicalDomain(domain);
    if (ascii !== undefined) check(canonicalDomain(ascii) === ascii, () => `again: ${ascii}`);
    spellings(address, local, domain, tag);
    const account = validateAccountName(local);
    const login = parseLogin(local, "ring.test");
    if (account.kind === "ok") {
      check(login === `${account.local}@ring.test`, () => `login ${login} of ${account.local}`);
      const mailbox = canonicalMailbox(`${local}@ring.test`, served);
      check(mailbox.kind === "mailbox" && mailbox.mailbox === login, () => `mail of ${local}`);
    }
  },
});

function spellings(address: string, local: string, domain: string, tag: string): void {
  const once = canonicalMailbox(address, served, "ring.test");
  if (once.kind === "invalid") check(/^[ -~]{3,80}$/.test(once.why), () => once.why);
  if (once.kind !== "mailbox") return;
  const { mailbox } = once;
  check(!unsafe.test(mailbox), () => `unsafe: ${JSON.stringify(mailbox)}`);
  check(Buffer.byteLength(mailbox) <= 254, () => `too long: ${mailbox}`);
  const same = (other: string) => {
    const answer = canonicalMailbox(other, served, "ring.test");
    // A spelling may be too long for an address; it is never somebody else's.
    const isSame =
      answer.kind === "mailbox" ? answer.mailbox === mailbox : answer.kind === "invalid";
    check(isSame, () => `${JSON.stringify(other)} is ${JSON.stringify(answer)}, not ${mailbox}`);
  };
  check(canonicalMailbox(mailbox, served).kind === "mailbox", () => `not its own: ${mailbox}`);
  same(mailbox);
  same(address.normalize("NFD"));
  same(address.normalize("NFC"));
  same(`${local}@${domain.toUpperCase()}`);
  if (!local.startsWith('"') && !local.includes("+") && /^[\w.-]*$/.test(tag)) {
    const tagged = canonicalMailbox(`${local}+${tag}@${domain}`, served, "ring.test");
    if (/^\w+$/.test(tag) && tagged.kind === "mailbox" && !local.endsWith(".")) {
      check(tagged.mailbox === mailbox, () => `${local}+${tag} is ${tagged.mailbox}`);
    }
  }
}
