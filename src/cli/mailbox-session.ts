/** A POP3 session of the command line: TLS where it is offered, and no password in clear but here. */
import { isIP } from "node:net";
import { Pop3Client, Pop3Refused } from "../client/pop3-client.js";
import { hostPort, ProtocolError, WireError } from "../client/wire.js";
import { CliError, oneLine, usageError } from "./errors.js";
import { type MailPortOptions, type Pop3Port, pop3PortOf } from "./mail-ports.js";
import { readPassword } from "./password.js";
import type { World } from "./world.js";

export interface MailboxOptions extends MailPortOptions {
  readonly user: string;
  readonly passwordStdin?: boolean;
  readonly insecureCertificate?: boolean;
}

/** Logs in, runs `work`, and says QUIT: nothing is deleted. @throws CliError */
export async function withMailbox<T>(
  world: World,
  options: MailboxOptions,
  work: (client: Pop3Client) => Promise<T>,
): Promise<T> {
  const { user } = options;
  const port = await pop3PortOf(world, options);
  if (!/^[^\s\p{Cc}]+$/u.test(user)) throw usageError("--user: a name has no spaces");
  const password = await readPassword(world, options);
  if (password === "" || /[\r\n\0]/.test(password)) throw usageError("the password is empty");
  let client: Pop3Client | undefined;
  try {
    client = await Pop3Client.connect(port.at);
    await secured(client, port, options);
    await client.expect(`USER ${octetsOf(user)}`);
    await client.expect(`PASS ${octetsOf(password)}`);
    const result = await work(client);
    await client.quit();
    return result;
  } catch (error) {
    throw explained(error, port);
  } finally {
    client?.destroy();
  }
}

/** What is sent goes out one octet per character. */
const octetsOf = (text: string): string => Buffer.from(text).toString("latin1");

async function secured(
  client: Pop3Client,
  { at }: Pop3Port,
  options: MailboxOptions,
): Promise<void> {
  const { host } = hostPort(at);
  const bare = host.replace(/^\[|\]$/g, "");
  const isHere = bare === "localhost" || /^127\./.test(bare) || bare === "::1";
  const offersTls = (await client.capabilities()).some((line) => /^STLS\b/i.test(line));
  if (offersTls) {
    const accepts = options.insecureCertificate === true || isHere;
    const named = isIP(bare) === 0 && { servername: bare };
    await client.startTls({ host: bare, ...named, rejectUnauthorized: !accepts });
    return;
  }
  if (isHere) return;
  throw new CliError(
    `${at} offers no TLS: the password could be read on the way; nothing was sent`,
  );
}

function explained(error: unknown, { at, from }: Pop3Port): unknown {
  const origin =
    from === undefined ? "" : `; this port is derived from ${from}: --pop3 names another`;
  if (error instanceof Pop3Refused) {
    const advice = error.command === "greeting" ? origin : "";
    return new CliError(oneLine(`${at} says to ${error.command}: ${error.line}${advice}`));
  }
  // A port that somebody else listens on.
  if (error instanceof ProtocolError)
    return new CliError(oneLine(`${at}: ${error.message}${origin}`));
  if (!(error instanceof WireError)) return error;
  const hint = error.message.startsWith("TLS: ")
    ? "; --insecure-certificate accepts any certificate"
    : origin;
  const { message } = error;
  const named = message.startsWith(at) ? message : `${at}: ${message}`;
  return new CliError(oneLine(`${named}${hint}`));
}
