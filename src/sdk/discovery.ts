/** Servers without a list of them: `connect({ servers: ["auto"] })` asks the LAN. */
import { BlockList, isIPv4 } from "node:net";
import { hostPort } from "../client/wire.js";
import { discover, type DiscoverOptions, type FoundMember } from "../discovery/index.js";
import type { ServerEndpoints } from "../ebm/index.js";
import type { ConnectOptions } from "./api.js";
import { RingpostError } from "./errors.js";

export { discover, type DiscoverOptions, type FoundMember };

const listedMax = 8;

/**
 * No public CA gives certificates for these, so a stranger on the LAN who answers, too, gets no
 * password: TLS is checked. With a name or a public address of their own, they could get one.
 */
const privateNetworks = new BlockList();
for (const [net, prefix] of [
  ...([
    ["127.0.0.0", 8],
    ["10.0.0.0", 8],
    ["172.16.0.0", 12],
  ] as const),
  ...([
    ["192.168.0.0", 16],
    ["169.254.0.0", 16],
  ] as const),
] as const) {
  privateNetworks.addSubnet(net, prefix, "ipv4");
}

function isPrivate(member: FoundMember): boolean {
  return Object.values(endpointsOf(member)).every((endpoint) => {
    const { host } = hostPort(endpoint);
    return isIPv4(host) && privateNetworks.check(host);
  });
}

/**
 * `"auto"` in the list of servers, made into the members that answer on the LAN; the others stay
 * before them. Members of more than one ring are refused: nothing says which one is meant.
 * @throws RingpostError `unreachable`, `unknown`
 */
export async function withFoundServers(
  options: ConnectOptions,
  look: typeof discover = discover,
): Promise<ConnectOptions> {
  const { servers, account, signal } = options;
  const named = servers.filter((server) => server !== "auto");
  if (named.length === servers.length) return options;
  const user = account?.ring ?? account?.user ?? "";
  const domain = user.includes("@") ? user.slice(user.lastIndexOf("@") + 1) : undefined;
  const all = await look({
    ...(domain !== undefined && { domain: domain.toLowerCase() }),
    ...(signal !== undefined && { signal }),
  });
  const isPinned = typeof options.tls === "object" && "ca" in options.tls;
  const found = isPinned ? all : all.filter(isPrivate);
  const rings = new Set(found.map(({ ring }) => ring));
  if (rings.size > 1) {
    const list = found.slice(0, listedMax).map((one) => `${one.addr} (${one.domain})`);
    const why = `servers: ${rings.size} rings answer on the LAN: ${list.join(", ")}; name one of them`;
    throw new RingpostError("unknown", why, false);
  }
  if (found.length === 0 && named.length === 0) {
    const why = "servers: no member of a ring answers on the LAN (UDP port 25110); name one";
    throw new RingpostError("unreachable", why, true);
  }
  return { ...options, servers: [...named, ...found.map(endpointsOf)] };
}

function endpointsOf(member: FoundMember): ServerEndpoints {
  const { smtp, pop3, submission, submissions, pop3s } = member;
  return {
    ...{ smtp, pop3 },
    ...(submission !== undefined && { submission }),
    ...(submissions !== undefined && { submissions }),
    ...(pop3s !== undefined && { pop3s }),
  };
}
