/** Where a member is reached, from what a user writes. */
import { hostPort } from "../../client/wire.js";
import type { ServerEndpoints } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";

/** A listener's default port is the ring port plus its well-known number. */
const offsets = { smtp: 25, submissions: 465, submission: 587, pop3: 110, pop3s: 995 } as const;
const shape = /^(?:ringpost:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})\/?$/;

/** @throws RingpostError `malformed` */
export function endpointsOf(server: string | ServerEndpoints): ServerEndpoints {
  if (typeof server !== "string") return server;
  const [, host = "", text = ""] = shape.exec(server) ?? [];
  const port = Number(text);
  if (host === "" || port < 1 || port > 65_535) {
    const why = `servers: "${server}" is not ringpost://host:port or host:port`;
    throw new RingpostError("malformed", why, false);
  }
  const at = (offset: number): string => `${host}:${port + offset}`;
  return {
    smtp: at(offsets.smtp),
    submission: at(offsets.submission),
    submissions: at(offsets.submissions),
    pop3: at(offsets.pop3),
    pop3s: at(offsets.pop3s),
  };
}

/**
 * Two spellings of one member are one, by its SMTP endpoint.
 * @throws RingpostError for ports beyond 65535, which no rule derives
 */
export function checkEndpoints(endpoints: ServerEndpoints): ServerEndpoints {
  for (const [name, at] of Object.entries(endpoints) as [string, string | undefined][]) {
    if (at === undefined) continue;
    const { host, port } = hostPort(at);
    if (host === "" || !Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new RingpostError("malformed", `servers: ${name} "${at}" is not host:port`, false);
    }
  }
  return endpoints;
}
