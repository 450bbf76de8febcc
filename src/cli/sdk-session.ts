/** How commands become clients of the ring: over mail alone, as every program with the SDK. */
import { homedir } from "node:os";
import { join } from "node:path";
import type { ConnectOptions, Ringpost } from "../sdk/index.js";
import { RingpostError } from "../sdk/index.js";
import { CliError, exitCodes, oneLine, usageError } from "./errors.js";
import { type MailPortOptions, serversOf } from "./mail-ports.js";
import type { PasswordOptions } from "./password.js";
import type { World } from "./world.js";

export interface SessionOptions extends PasswordOptions, MailPortOptions {
  readonly user: string;
  readonly store?: string;
  readonly insecureCertificate?: boolean;
}

/** Of what was typed, what is safe as a file's name; the rest would leave the directory. */
const fileName = (text: string): string => encodeURIComponent(text).replaceAll(".", "%2E");

/** Where `chord mail` keeps a user's chats, by the XDG base directory specification. */
export function mailStore({ env }: World, server: string, user: string): string {
  const state = env["XDG_STATE_HOME"] || join(env["HOME"] || homedir(), ".local", "state");
  // Two rings may have a user of the same name.
  return join(state, "ringpost", "mail", fileName(server), fileName(user));
}

/** Logs in, runs `work`, and closes. @throws CliError */
export async function withSession<T>(
  world: World,
  options: SessionOptions,
  password: string,
  work: (client: Ringpost, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { user, store, insecureCertificate = false } = options;
  if (!/^[^\s\p{Cc}]+$/u.test(user)) throw usageError("--user: a name has no spaces");
  const servers = await serversOf(world, options);
  if (password === "") throw usageError("the password is empty");
  const cancelled = new AbortController();
  const onSignal = (): void => cancelled.abort();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, onSignal);
  const connect: ConnectOptions = {
    ...{ servers, account: { user, password }, signal: cancelled.signal },
    ...(store !== undefined && { store }),
    ...(insecureCertificate && { tls: { rejectUnauthorized: false } as const }),
  };
  let client: Ringpost | undefined;
  try {
    client = await world.ringpost(connect);
    return await work(client, cancelled.signal);
  } catch (error) {
    if (cancelled.signal.aborted) throw new CliError("cancelled", exitCodes.cancelled);
    if (error instanceof RingpostError) throw new CliError(oneLine(error.message));
    throw error;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    await client?.close().catch(() => undefined);
  }
}
