/** POP3 sessions, by our own client: node-pop3 knows neither STLS nor SASL. */
import { Pop3Client, Pop3Refused } from "../../client/pop3-client.js";
import { hostPort, ProtocolError, WireError } from "../../client/wire.js";
import { ebmBounds, type ServerEndpoints } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { closedError } from "../waiting.js";
import { TransportError } from "./failure.js";
import type { Patience } from "./servers.js";
import { type TlsPolicy, tlsFor } from "./tls.js";

export type MaildropLogin =
  | { readonly user: string; readonly token: string }
  | { readonly user: string; readonly password: string };

export interface SessionOptions {
  readonly at: Pick<ServerEndpoints, "pop3" | "pop3s">;
  readonly tls: TlsPolicy;
  readonly login: MaildropLogin;
  readonly patience: Patience;
  /** Ends the session without a QUIT. */
  readonly signal: AbortSignal;
}

/** Somebody else has the maildrop open, or its state is not known just now: to be tried again. */
export class MaildropBusy extends Error {
  override readonly name = "MaildropBusy";
}

/**
 * Opens a maildrop, runs `use`, and ends with QUIT: what `use` has marked is deleted when this
 * resolves.
 * @throws TransportError, MaildropBusy, RingpostError `denied`
 */
export async function withMaildrop<T>(
  options: SessionOptions,
  use: (client: Pop3Client) => Promise<T>,
): Promise<T> {
  const at = options.at.pop3;
  let client: Pop3Client | undefined;
  const end = (): void => client?.destroy();
  options.signal.addEventListener("abort", end);
  try {
    client = await open(options);
    if (options.signal.aborted) throw closedError();
    const value = await use(client);
    await client.quit();
    return value;
  } catch (error) {
    throw failureOf(error, at);
  } finally {
    options.signal.removeEventListener("abort", end);
    client?.destroy();
  }
}

async function open(options: SessionOptions): Promise<Pop3Client> {
  const { at, login, patience } = options;
  const tls = tlsFor(options.tls, hostPort(at.pop3).host);
  const implicit = tls !== undefined && at.pop3s !== undefined;
  const client = await Pop3Client.connect(implicit ? (at.pop3s ?? "") : at.pop3, {
    connectMs: patience.connectMs,
    deadlineMs: patience.stallMs,
    answerOctetsMax: ebmBounds.mailOctetsMax * 2,
    ...(implicit ? { tls } : {}),
  });
  try {
    if (tls !== undefined && !implicit) await client.startTls(tls);
    if ("token" in login) await client.bearer(login.user, login.token);
    else await client.password(login.user, login.password);
    return client;
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** By the extended codes of RFC 2449 §8.1 and RFC 3206. */
function failureOf(error: unknown, at: string): unknown {
  if (error instanceof WireError || error instanceof ProtocolError) {
    return new TransportError(`${at}: ${error.message}`, { cause: error });
  }
  if (!(error instanceof Pop3Refused)) return error;
  const { line } = error;
  if (line.includes("[IN-USE]")) return new MaildropBusy(line);
  if (line.includes("[SYS/")) return new TransportError(`${at}: ${line}`);
  if (line.includes("[LOGIN-DELAY]")) return new MaildropBusy(line);
  const isLogin = /^(AUTH|USER|PASS)/.test(error.command);
  if (isLogin) return new RingpostError("denied", `${at}: ${line}`, false, { cause: error });
  return new TransportError(`${at}: ${error.message}`, { cause: error });
}
