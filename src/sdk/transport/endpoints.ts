/** Where a member is reached, from what a user writes. */
import { hostPort } from "../../client/wire.js";
import type { ServerEndpoints } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";

/** A listener's default port is the ring port plus its well-known number. */
const offsets = { smtp: 25, submissions: 465, submission: 587, pop3: 110, pop3s: 995 } as const;
const portMax = 65_535;
const shape = /^(?:ringpost:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})\/?$/;

/** What a client starts with. @throws RingpostError `malformed` */
export function knownServers(servers: readonly (string | ServerEndpoints)[]): {
  readonly endpoints: readonly ServerEndpoints[];
  /** By the SMTP endpoint: what it was derived from, as it was written. */
  readonly derivedFrom: ReadonlyMap<string, string>;
} {
  const derivedFrom = new Map<string, string>();
  const endpoints = servers.map((server) => {
    const known = endpointsOf(server);
    if (typeof server === "string") derivedFrom.set(known.smtp, server);
    return known;
  });
  return { endpoints, derivedFrom };
}

/** @throws RingpostError `malformed`; for a ring port that leaves none for the mail ports, too */
export function endpointsOf(server: string | ServerEndpoints): ServerEndpoints {
  if (typeof server !== "string") return checked(server);
  const [, host = "", text = ""] = shape.exec(server) ?? [];
  const port = Number(text);
  if (host === "" || port < 1 || port > portMax) {
    const why = `servers: "${server}" is not ringpost://host:port or host:port`;
    throw new RingpostError("malformed", why, false);
  }
  const at = (name: keyof typeof offsets): string => {
    const mailPort = port + offsets[name];
    if (mailPort <= portMax) return `${host}:${mailPort}`;
    const sum = `${port} + ${offsets[name]} is over ${portMax}`;
    const why = `servers: "${server}" leaves no port for ${name} (${sum}): name the endpoints instead`;
    throw new RingpostError("malformed", why, false);
  };
  return {
    smtp: at("smtp"),
    submission: at("submission"),
    submissions: at("submissions"),
    pop3: at("pop3"),
    pop3s: at("pop3s"),
  };
}

/** The endpoints that a program named. @throws RingpostError `malformed` */
function checked(endpoints: ServerEndpoints): ServerEndpoints {
  for (const [name, at] of Object.entries(endpoints) as [string, string | undefined][]) {
    if (at === undefined) continue;
    const { host, port } = hostPort(at);
    if (host === "" || !Number.isInteger(port) || port < 1 || port > portMax) {
      throw new RingpostError("malformed", `servers: ${name} "${at}" is not host:port`, false);
    }
  }
  return endpoints;
}
