/** Texts of the replies. Response codes: RFC 2449 §8, RFC 3206 §4 and §5. */
export const replies = {
  ok: "+OK\r\n",
  sendPassword: "+OK send PASS\r\n",
  utf8: "+OK UTF-8 mode\r\n",
  beginTls: "+OK begin TLS\r\n",
  /** RFC 5034 §4: an empty challenge is a plus and a space. */
  challenge: (data: Buffer) => `+ ${data.toString("base64")}\r\n`,
  goodbye: "+OK signing off\r\n",
  removed: (count: number) => `+OK signing off, ${count} removed\r\n`,
  loggedIn: (count: number) => `+OK logged in, ${count} messages\r\n`,

  denied: "-ERR [AUTH] wrong name or password\r\n",
  inUse: "-ERR [IN-USE] another session has this maildrop open\r\n",
  authTempfail: "-ERR [SYS/TEMP] logins can't be checked now, try again later\r\n",
  throttled: (seconds: number) =>
    `-ERR [SYS/TEMP] too many logins were tried, nothing was checked; again in ${seconds} s\r\n`,
  readFailed: "-ERR [SYS/TEMP] message can't be read now, try again later\r\n",
  notRemoved: (why: string) => `-ERR [SYS/TEMP] nothing removed: ${oneLine(why)}\r\n`,
  refused: (why: string) => `-ERR [SYS/TEMP] ${oneLine(why)}\r\n`,
  shuttingDown: "-ERR [SYS/TEMP] server is shutting down, try again later\r\n",
  tooManyConnections: "-ERR [SYS/TEMP] too many connections, try again later\r\n",

  unknownCommand: "-ERR unknown command\r\n",
  badCharacter: "-ERR a character that no command has\r\n",
  lineTooLong: "-ERR line too long\r\n",
  syntax: (usage: string) => `-ERR syntax: ${usage}\r\n`,
  needsLogin: "-ERR log in first\r\n",
  loggedInAlready: "-ERR logged in already\r\n",
  needsUser: "-ERR USER first\r\n",
  methodNotOffered: "-ERR not offered\r\n",
  /** No response code: `[AUTH]` would say that the password is wrong (RFC 3206 §5). */
  needsStls: "-ERR no passwords in clear: begin TLS with STLS first\r\n",
  needsTls: "-ERR no passwords in clear here, and no TLS on this port\r\n",
  tlsNotOffered: "-ERR TLS is not offered\r\n",
  tlsAlready: "-ERR TLS is on already\r\n",
  saslCancelled: "-ERR cancelled\r\n",
  saslMalformed: "-ERR malformed SASL response\r\n",
  noSuchMessage: "-ERR no such message\r\n",
  deletedMessage: "-ERR message is marked as deleted\r\n",
} as const;

/** Printable ASCII of at most 200 octets: RFC 1939 §3 limits a reply to 512. */
function oneLine(text: string): string {
  return text.replace(/[^ -~]+/g, " ").slice(0, 200);
}
