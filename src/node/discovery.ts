/** A member on its LAN: how it finds the ring that it is to join, and how it is found. */
import { formatEndpoint, isWildcard, type NodeConfig, parseEndpoint } from "../config/index.js";
import { discover, type FoundMember } from "../discovery/index.js";
import { fingerprintOf, parseJoinToken } from "../secrets/index.js";
import type { Address } from "../shared/ids.js";
import { NodeStartError } from "./identity.js";

const lookMs = 1_000;
const looksMax = 5;
const listedMax = 8;
const entriesMax = 8;

export type Discover = (options: {
  readonly domain: string;
  readonly timeoutMs: number;
}) => Promise<readonly FoundMember[]>;

/**
 * `--entry auto` made into entries. Data that is a member's needs none. Nobody there is an error,
 * never a new ring: two machines that are switched on together would found one each.
 * @throws NodeStartError
 */
export async function withFoundEntries(
  config: NodeConfig,
  isMember: boolean,
  look: Discover = discover,
): Promise<NodeConfig> {
  if (!config.findEntries || isMember) return config;
  const { domain } = config;
  for (let n = 0; n < looksMax; n += 1) {
    const all = await look({ domain, timeoutMs: lookMs });
    const found = ofTokensRing(all, config).filter(({ addr }) => addr !== config.addr);
    if (found.length > 0) return Object.freeze({ ...config, entries: entriesOf(found, config) });
  }
  throw new NodeStartError(
    `no member of a ring for ${domain} answers on the LAN (UDP port 25110); ` +
      "start one with --discovery on, or name it with --entry host:port",
  );
}

/** A token is for one ring, and says which. */
function ofTokensRing(
  found: readonly FoundMember[],
  { token }: NodeConfig,
): readonly FoundMember[] {
  const wanted = token === undefined ? undefined : parseJoinToken(token)?.caFingerprint;
  if (wanted === undefined) return found;
  return found.filter(({ ring }) => wanted.toString("hex").startsWith(ring));
}

function entriesOf(found: readonly FoundMember[], { domain }: NodeConfig): readonly Address[] {
  const rings = new Set(found.map(({ ring }) => ring));
  if (rings.size === 1) return found.slice(0, entriesMax).map(({ addr }) => addr as Address);
  const list = found
    .slice(0, listedMax)
    .map(({ ring, addr }) => `${addr} (ring ${ring.slice(0, 8)})`);
  throw new NodeStartError(
    `${rings.size} rings for ${domain} answer on the LAN: ${list.join(", ")}; ` +
      "name a member of the right one with --entry host:port, or give its --token",
  );
}

/** What this member tells on its LAN. */
export function toldOnLan(
  config: NodeConfig,
  caPem: string,
  listeners: Readonly<Partial<Record<string, string>>>,
): FoundMember {
  const { domain, bits, replicas, addr, ring } = config;
  // "Every interface" is no address to call: then it is the one that the ring is reached at.
  const told = (text: string | undefined): string => {
    const parsed = parseEndpoint(text ?? "", { portMin: 1 });
    if (!parsed.ok) return "";
    const { host, port } = parsed.value;
    return formatEndpoint({ host: isWildcard(host) ? ring.host : host, port });
  };
  const optional = ["submission", "submissions", "pop3s"]
    .map((name) => [name, told(listeners[name])] as const)
    .filter(([, at]) => at !== "");
  return {
    ring: fingerprintOf(caPem)?.toString("hex").slice(0, 32) ?? "",
    ...{ domain, bits, replicas, addr },
    smtp: told(listeners["smtp"]),
    pop3: told(listeners["pop3"]),
    ...Object.fromEntries(optional),
  };
}
