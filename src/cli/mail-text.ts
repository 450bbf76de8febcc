/** A mail as lines for people: nothing in them drives a terminal. */
import type { MailView, ParsedMail } from "../mail-view/view.js";
import { visibleLine, visibleLines } from "./visible.js";

/** Header fields, an empty line, text and attachments; not wrapped. */
export function mailLines(mail: Buffer, view: MailView): string[] {
  return view.kind === "parsed" ? readable(view) : raw(mail, view.why);
}

function readable({ from, to, cc, subject, date, text, cut, attachments }: ParsedMail): string[] {
  const fields: [string, string][] = [
    ["From", from],
    ["To", to],
    ["Cc", cc],
    ["Date", date?.toUTCString() ?? ""],
    ["Subject", subject],
  ];
  const head = fields
    .filter(([, value]) => value !== "")
    .map(([name, value]) => visibleLine(`${name}: ${value}`));
  const parts = attachments.map(({ name, type, octets }) =>
    visibleLine(
      `[attachment: ${name === "" ? "without a name" : name}, ${type}, ${octets} octets]`,
    ),
  );
  return [
    ...head,
    "",
    ...visibleLines(text),
    ...(cut ? ["", "(the text goes on)"] : []),
    ...(parts.length === 0 ? [] : ["", ...parts]),
  ];
}

function raw(mail: Buffer, why: string): string[] {
  const text = mail.toString("utf8", 0, 512 * 1024);
  return [`(shown as it came: ${visibleLine(why)})`, "", ...visibleLines(text)];
}
