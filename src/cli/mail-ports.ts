/** Where commands that are mail programs find a member: by its ring port, or by ports of their own. */
import { parseEndpoint } from "../config/index.js";
import { withFoundServers } from "../sdk/discovery.js";
import { RingpostError } from "../sdk/errors.js";
import type { ServerEndpoints } from "../sdk/index.js";
import { endpointsOf } from "../sdk/transport/endpoints.js";
import { chooseEntry } from "./entry.js";
import { CliError, oneLine, usageError } from "./errors.js";
import type { World } from "./world.js";

/** `server` is `--entry`; the others stand for the port that would be derived from it. */
export interface MailPortOptions {
  readonly server?: string | readonly string[];
  readonly smtp?: string;
  readonly pop3?: string;
  readonly submission?: string;
}

export type NamedServer = string | ServerEndpoints;

/** For `connect` of the SDK. @throws CliError */
export async function serversOf(
  world: World,
  options: MailPortOptions,
): Promise<readonly NamedServer[]> {
  const { smtp, pop3, submission } = options;
  const { server = await chooseEntry(world, {}) } = options;
  const entries = typeof server === "string" ? [server] : server;
  const flag = (["smtp", "pop3", "submission"] as const).find((key) => options[key] !== undefined);
  if (flag === undefined) return entries;
  const [entry = "auto"] = entries;
  if (entries.length > 1 || entry === "auto") {
    throw usageError(`--${flag} is a port of one member: give one --entry host:port`);
  }
  const { pop3s, ...derived } = derivedFrom(entry);
  const named = {
    ...(smtp !== undefined && { smtp: checked("--smtp", smtp) }),
    ...(submission !== undefined && { submission: checked("--submission", submission) }),
    // TLS from the first octet would be tried at the derived port.
    ...(pop3 === undefined ? pop3s && { pop3s } : { pop3: checked("--pop3", pop3) }),
  };
  return [{ ...derived, ...named }];
}

/** A POP3 port, and what it was derived from if nobody named it. */
export interface Pop3Port {
  readonly at: string;
  readonly from?: string;
}

/** @throws CliError */
export async function pop3PortOf(world: World, options: MailPortOptions): Promise<Pop3Port> {
  if (options.pop3 !== undefined) return { at: checked("--pop3", options.pop3) };
  const { server = await chooseEntry(world, {}) } = options;
  const entry = typeof server === "string" ? server : (server[0] ?? "");
  if (entry !== "auto") return { at: derivedFrom(entry).pop3, from: entry };
  try {
    const { servers } = await withFoundServers({ servers: [entry] });
    return { at: endpointsOf(servers[0] ?? "").pop3 };
  } catch (error) {
    throw error instanceof RingpostError ? new CliError(oneLine(error.message)) : error;
  }
}

function derivedFrom(entry: string): ServerEndpoints {
  try {
    return endpointsOf(entry);
  } catch (error) {
    if (!(error instanceof RingpostError)) throw error;
    throw usageError(oneLine(error.message.replace(/^servers: /, "--entry ")));
  }
}

function checked(flag: string, text: string): string {
  const endpoint = parseEndpoint(text, { portMin: 1 });
  if (endpoint.ok) return text;
  throw usageError(`${flag} ${text}: must ${endpoint.why}`);
}
