/** The IPv4 networks that this machine is on. */
import { isIPv4 } from "node:net";
import { networkInterfaces } from "node:os";

export interface Network {
  /** Of this machine on it. */
  readonly address: string;
  readonly netmask: string;
  readonly isLoopback: boolean;
}

const networksMax = 32;

export function ownNetworks(): readonly Network[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family }) => family === "IPv4")
    .map(({ address, netmask, internal }) => ({ address, netmask, isLoopback: internal }))
    .slice(0, networksMax);
}

/**
 * Where a member listens for questions: on the network that others reach it on; if that is named,
 * not numbered, on all of the LANs.
 */
export function listeningNetworks(host: string, networks: readonly Network[]): readonly Network[] {
  if (isLoopbackHost(host)) return networks.filter(({ isLoopback }) => isLoopback);
  const exact = networks.filter(({ address }) => address === host);
  return exact.length > 0 ? exact : networks.filter(({ isLoopback }) => !isLoopback);
}

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** True for an address on one of the networks; whoever is farther away is no neighbour. */
export function isOn(networks: readonly Network[], address: string): boolean {
  const bits = bitsOf(address);
  if (bits === undefined) return false;
  return networks.some((network) => {
    const [own, mask] = [bitsOf(network.address), bitsOf(network.netmask)];
    if (own === undefined || mask === undefined) return false;
    return ((own ^ bits) & mask) === 0;
  });
}

/** Where everybody on it hears; undefined where there is no such address. */
export function broadcastOf({ address, netmask, isLoopback }: Network): string | undefined {
  const [own, mask] = [bitsOf(address), bitsOf(netmask)];
  // RFC 3021: a network of two has none.
  if (isLoopback || own === undefined || mask === undefined || ~mask >>> 0 < 3) return undefined;
  const all = (own | ~mask) >>> 0;
  return [24, 16, 8, 0].map((shift) => (all >>> shift) & 0xff).join(".");
}

function bitsOf(address: string): number | undefined {
  if (!isIPv4(address)) return undefined;
  return address.split(".").reduce((bits, part) => (bits << 8) | Number(part), 0);
}
