/** What of a header is looked at; a Message-ID that comes later does not count. */
const headOctetsMax = 64 * 1024;

/**
 * Has a mail a Message-ID (RFC 5322 §3.6.4)? `head` is its beginning. With one, equal octets are the
 * same mail; without, they may be two that look alike.
 */
export function hasMessageId(head: Buffer): boolean {
  const text = head.toString("latin1", 0, headOctetsMax);
  const field = /^message-id[ \t]*:[ \t]*<[^\r\n]+>/im.exec(text);
  if (field === null) return false;
  // A mail that begins with an empty line has no header at all.
  if (/^\r?\n/.test(text)) return false;
  const end = /\r\n\r\n|\n\n/.exec(text);
  return end === null || field.index < end.index + 2;
}
