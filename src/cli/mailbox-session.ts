/** A POP3 session of the command line: TLS where it is offered, and no password in clear but here. */
import { isIP } from "node:net";
import { Pop3Client, Pop3Refused } from "../client/pop3-client.js";
import { hostPort, WireError } from "../client/wire.js";
import { parseEndpoint } from "../config/index.js";
import { CliError, oneLine, usageError } from "./errors.js";
import { readPassword } from "./password.js";
import type { World } from "./world.js";

export interface MailboxOptions {
  readonly pop3: string;
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
  const { pop3, user } = options;
  const endpoint = parseEndpoint(pop3, { portMin: 1 });
  if (!endpoint.ok) throw usageError(`--pop3 ${pop3}: must ${endpoint.why}`);
  if (!/^[^\s\p{Cc}]+$/u.test(user)) throw usageError("--user: a name has no spaces");
  const password = await readPassword(world, options);
  if (password === "" || /[\r\n\0]/.test(password)) throw usageError("the password is empty");
  let client: Pop3Client | undefined;
  try {
    client = await Pop3Client.connect(pop3);
    await secured(client, options);
    await client.expect(`USER ${octetsOf(user)}`);
    await client.expect(`PASS ${octetsOf(password)}`);
    const result = await work(client);
    await client.quit();
    return result;
  } catch (error) {
    throw explained(error, options);
  } finally {
    client?.destroy();
  }
}

/** What is sent goes out one octet per character. */
const octetsOf = (text: string): string => Buffer.from(text).toString("latin1");

async function secured(client: Pop3Client, options: MailboxOptions): Promise<void> {
  const { host } = hostPort(options.pop3);
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
    `${options.pop3} offers no TLS: the password could be read on the way; nothing was sent`,
  );
}

function explained(error: unknown, { pop3 }: MailboxOptions): unknown {
  if (error instanceof Pop3Refused) {
    return new CliError(oneLine(`${pop3} says to ${error.command}: ${error.line}`));
  }
  if (!(error instanceof WireError)) return error;
  const hint = error.message.startsWith("TLS: ")
    ? "; --insecure-certificate accepts any certificate"
    : "";
  return new CliError(oneLine(`${error.message}${hint}`));
}
