/** A field of a mail's header, unfolded (RFC 5322 §2.2.3), as text; "" when there is none. */
export function headerField(mail: Buffer, name: string): string {
  const end = mail.indexOf("\r\n\r\n");
  const header = mail.toString("utf8", 0, end < 0 ? mail.length : end);
  const pattern = new RegExp(`^${name}[ \\t]*:((?:[^\\r\\n]|\\r?\\n[ \\t])*)`, "im");
  return (pattern.exec(header)?.[1] ?? "").replace(/\r?\n(?=[ \t])/g, "").trim();
}
