/** HELO and EHLO: RFC 5321 §4.1.1.1. Pure. */

/** RFC 5321 §4.5.3.1.2 has 255 for a domain; a little slack, since the argument is but a claim. */
const nameLengthMax = 300;

/** What the client calls itself; undefined when it is not one word that can be told to others. */
export function parseHello(line: Buffer): string | undefined {
  const [, name, ...rest] = line.toString().trim().split(/\s+/);
  if (name === undefined || rest.length > 0 || name.length > nameLengthMax) return undefined;
  // In practice anything is sent here, IP addresses and Windows names among them.
  return /\p{Cc}/u.test(name) ? undefined : name.toLowerCase();
}

interface Offer {
  readonly messageOctetsMax: number;
  readonly startTls: boolean;
  readonly mechanisms: readonly string[];
}

/** The keywords of EHLO's reply (RFC 5321 §4.1.1.1), for this client at this moment. */
export function keywords({ messageOctetsMax, startTls, mechanisms }: Offer): string[] {
  return [
    "PIPELINING",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    ...(mechanisms.length > 0 ? [`AUTH ${mechanisms.join(" ")}`] : []),
    ...(startTls ? ["STARTTLS"] : []),
    `SIZE ${messageOctetsMax}`,
  ];
}
