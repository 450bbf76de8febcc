import { isIPv6 } from "node:net";

/**
 * What counts as one client: an IPv4 address, also one that is mapped into IPv6 (RFC 4291
 * §2.5.5.2), or the 64 bits of an IPv6 network, within which a client takes what address it likes.
 */
export function clientNetwork(address: string): string {
  const [plain = ""] = address.toLowerCase().split("%");
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain) ?? [];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(plain)) return plain.slice(0, 64);
  const [head = "", tail] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  // Dotted quads can only stand in the last two groups, which do not matter here.
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const afterLength = after.length + (tail?.includes(".") ? 1 : 0);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - afterLength);
  const all = [...groups, ...Array<string>(zeros).fill("0"), ...after];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
