/** What the sender of a mail is told that could not be sent: RFC 3464, and RFC 6533 for names in UTF-8. Pure. */

export interface UndeliveredMail {
  /** Of the sender, for the report. */
  readonly from: string;
  readonly to: string;
  /** Milliseconds since 1970. */
  readonly receivedAtMs: number;
  readonly octets: Buffer;
  /** The last reply of the smart host, on one line; without its code when none came. */
  readonly why: string;
  /** Refused for good; else it was tried for as long as mail is tried. */
  readonly isRefused: boolean;
}

export interface ReportFacts {
  /** `postmaster@` of the ring's first domain. */
  readonly postmaster: string;
  /** Host name of the member that reports. */
  readonly reporter: string;
  /** Host name of the smart host. */
  readonly smartHost: string;
  /** Without angle brackets. */
  readonly messageId: string;
  readonly date: Date;
}

/** Of the header that comes back; it is the sender's own. */
const headerOctetsMax = 64 * 1024;

export function deliveryReport(mail: UndeliveredMail, facts: ReportFacts): Buffer {
  const boundary = `report-${facts.messageId.replace(/[^A-Za-z0-9]/g, "").slice(0, 40)}`;
  const isUtf8 = /[^\x00-\x7f]/.test(`${mail.from}${mail.to}`);
  const part = (type: string): string[] => [
    `--${boundary}`,
    `Content-Type: ${type}`,
    "Content-Transfer-Encoding: 8bit",
    "",
  ];
  const lines = [
    ...header(mail, facts, boundary),
    "",
    ...part("text/plain; charset=utf-8"),
    ...explanation(mail),
    "",
    ...part(isUtf8 ? "message/global-delivery-status" : "message/delivery-status"),
    ...status(mail, facts, isUtf8),
    "",
    ...part(isUtf8 ? "message/global-headers" : "text/rfc822-headers"),
  ];
  return Buffer.concat([
    Buffer.from(`${lines.join("\r\n")}\r\n`),
    headerOf(mail.octets),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}

const header = (
  { from }: UndeliveredMail,
  { postmaster, messageId, date }: ReportFacts,
  boundary: string,
): string[] => [
  `Date: ${dateTime(date)}`,
  `From: Mail delivery <${postmaster}>`,
  `To: <${from}>`,
  `Message-ID: <${messageId}>`,
  "Subject: Undelivered mail",
  // RFC 3834 §2: no machine answers this.
  "Auto-Submitted: auto-replied",
  "MIME-Version: 1.0",
  "Content-Type: multipart/report; report-type=delivery-status;",
  `\tboundary="${boundary}"`,
];

const explanation = ({ to, why, isRefused }: UndeliveredMail): string[] => [
  "Your mail could not be delivered to",
  "",
  `    ${to}`,
  "",
  isRefused ? "It is refused:" : "It was tried for two days, and this was said last:",
  "",
  `    ${oneLine(why)}`,
  "",
  "It will not be tried again. Its header is below.",
];

/** RFC 3464 §2.2 and §2.3. */
function status(
  { to, why, isRefused, receivedAtMs }: UndeliveredMail,
  { reporter, smartHost }: ReportFacts,
  isUtf8: boolean,
): string[] {
  // RFC 3463 §3.5: delivery time expired.
  const code = isRefused ? (/\b5\.\d{1,3}\.\d{1,3}\b/.exec(why)?.[0] ?? "5.0.0") : "4.4.7";
  const type = /^[245]\d\d\b/.test(why) ? "smtp" : "X-Ringpost";
  return [
    `Reporting-MTA: dns; ${reporter}`,
    `Arrival-Date: ${dateTime(new Date(receivedAtMs))}`,
    "",
    `Final-Recipient: ${isUtf8 ? "utf-8" : "rfc822"}; ${to}`,
    "Action: failed",
    `Status: ${code}`,
    `Remote-MTA: dns; ${smartHost}`,
    `Diagnostic-Code: ${type}; ${oneLine(why).replace(/[^\x20-\x7e]/g, "?")}`,
  ];
}

/** As it came, up to the empty line; a long one is cut behind a line. */
function headerOf(octets: Buffer): Buffer {
  if (octets.indexOf("\r\n") === 0) return Buffer.alloc(0);
  const end = octets.indexOf("\r\n\r\n");
  const whole = octets.subarray(0, end < 0 ? octets.length : end + 2);
  if (whole.length <= headerOctetsMax) return whole;
  const cut = whole.subarray(0, headerOctetsMax);
  return cut.subarray(0, cut.lastIndexOf("\r\n") + 2);
}

/** RFC 5322 §3.3. */
const dateTime = (date: Date): string => date.toUTCString().replace("GMT", "+0000");

const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Cs}\u2028\u2029]/gu, " ");
