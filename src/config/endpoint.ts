import { isIP, isIPv6 } from "node:net";
import { no, ok, type Parsed } from "./parsed.js";

/** Where something listens. `host` is a name, an IPv4 or an IPv6 address (without brackets). */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export const portMax = 65_535;

const bracketed = /^\[([^\]]+)\]:(\d{1,5})$/;
const plain = /^([^:[\]]+):(\d{1,5})$/;
const label = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const shape = "be host:port, for example 127.0.0.1:5000";

/** True for a host name of letters, digits and dashes (RFC 1123 §2.1; `_` as container names). */
export function isHostName(text: string): boolean {
  if (text.length === 0 || text.length > 253) return false;
  const labels = text.split(".");
  // Only numbers between the dots means a mistyped IPv4 address (RFC 3696 §2).
  if (/^\d+$/.test(labels.at(-1) ?? "")) return false;
  return labels.every((part) => label.test(part));
}

/** Reads `host:port` or `[ipv6]:port`; lower case, so that equal endpoints have equal text. */
export function parseEndpoint(
  text: string,
  { portMin }: { readonly portMin: 0 | 1 },
): Parsed<Endpoint> {
  const match = bracketed.exec(text) ?? plain.exec(text);
  if (match === null) {
    if (isIPv6(text)) return no(`be [${text}]:port, with the port after the brackets`);
    return no(shape);
  }
  const host = (match[1] ?? "").toLowerCase();
  const port = Number(match[2]);
  if (text.startsWith("[") ? !isIPv6(host) : isIP(host) === 0 && !isHostName(host)) {
    return no(`${shape}; "${host}" is no host name and no IP address`);
  }
  if (port < portMin || port > portMax) {
    return no(`have a port from ${portMin} to ${portMax}, not ${port}`);
  }
  return ok({ host, port });
}

/** The text that `parseEndpoint` reads. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for the addresses that mean "every interface": fine to listen on, useless to call. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}

/** True for this machine by itself: nobody else reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** A listener that may be left out. */
export type Listener = Endpoint | "off";

/** Port 0: the system picks one. */
export const parseListener = (text: string): Parsed<Endpoint> =>
  parseEndpoint(text, { portMin: 0 });

export function parseOptionalListener(text: string): Parsed<Listener> {
  if (text === "off") return ok("off");
  const endpoint = parseListener(text);
  return endpoint.ok ? endpoint : no(`${endpoint.why}, or off`);
}

export function parseRelay(text: string): Parsed<Listener> {
  if (text === "off") return ok("off");
  const endpoint = parseEndpoint(text, { portMin: 1 });
  return endpoint.ok ? endpoint : no(`${endpoint.why}, or off`);
}

const entriesMax = 64;

/** `a:1, b:2`, or `auto`. */
export function parseEntries(text: string): Parsed<readonly Endpoint[] | "auto"> {
  if (text === "auto") return ok("auto");
  const entries: Endpoint[] = [];
  for (const part of text.split(",")) {
    const entry = parseEndpoint(part.trim(), { portMin: 1 });
    if (!entry.ok) return no(`${entry.why}; or auto, alone, to find a member on the LAN`);
    entries.push(entry.value);
  }
  return entries.length > entriesMax ? no(`name at most ${entriesMax} members`) : ok(entries);
}
