/** What gateways do to mails on their way, as far as SMTP lets them. */
import type { Dice } from "../../../src/drill/dice.js";
import { type Gateway, gateways } from "../../simulation/link-gateways.js";

/** Made octet by octet. */
const quotedOctetsMax = 512 * 1024;

const inSubject =
  (change: (subject: string) => string): Gateway =>
  (mail) =>
    mail.replace(
      /^Subject: ([^\r]*)\r\n/m,
      (_, subject: string) => `Subject: ${change(subject)}\r\n`,
    );

const changes: Readonly<Record<string, Gateway>> = {
  ...gateways,
  /** RFC 2047, as some write all that has quotes in it. */
  encoded: inSubject((subject) => `=?utf-8?B?${Buffer.from(subject).toString("base64")}?=`),
  replaced: inSubject(() => "(no subject)"),
};
/** SMTP has no bare newlines (RFC 5321 §2.3.8); what re-breaks or re-encodes the part comes first. */
const names = Object.keys(changes).filter((name) => name !== "bareNewlines");

export function rewritten(mail: Buffer, dice: Dice): Buffer {
  const chosen = new Set(dice.shuffled(names).slice(0, dice.whole(1, 3)));
  if (mail.length > quotedOctetsMax) chosen.delete("quotedPrintable");
  let text = mail.toString("latin1");
  for (const name of names) {
    if (chosen.has(name)) text = changes[name]?.(text, dice.next) ?? text;
  }
  return Buffer.from(text, "latin1");
}
