/** Which connections are TLS, and whose certificates are believed. */
import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { ConnectOptions } from "../api.js";

export type TlsPolicy = NonNullable<ConnectOptions["tls"]>;

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127\./.test(host);

/** Undefined: in clear, which is for connections within this machine only. */
export function tlsFor(policy: TlsPolicy, host: string): ConnectionOptions | undefined {
  if (policy === "auto" && isLoopback(host)) return undefined;
  const servername = isIP(host) === 0 ? { servername: host } : {};
  if (typeof policy !== "object") return servername;
  return "ca" in policy
    ? { ...servername, ca: policy.ca }
    : { ...servername, rejectUnauthorized: false };
}
