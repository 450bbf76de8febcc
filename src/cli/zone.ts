/** Records of a zone file (RFC 1035 §5.1) for mail that is served by the members of a ring. Pure. */
import { isIP, isIPv4 } from "node:net";

export type ListenerName = "smtp" | "pop3" | "submission" | "submissions" | "pop3s";

export interface DnsMember {
  /** Names the member below a domain, when all that is known of it is an address. */
  readonly label: string;
  /** How the ring reaches it: an address or a host name. */
  readonly host: string;
  readonly ports: { readonly [L in ListenerName]: number | undefined };
}

const ttlSeconds = 3_600;

/** RFC 6186 §3 and RFC 8314 §5.1: those with TLS from the start are to be tried first. */
const services: readonly (readonly [name: string, listener: ListenerName, priority: number])[] = [
  ["_submissions._tcp", "submissions", 0],
  ["_submission._tcp", "submission", 10],
  ["_pop3s._tcp", "pop3s", 0],
  ["_pop3._tcp", "pop3", 10],
];

export function zoneLines(domain: string, members: readonly DnsMember[]): string[] {
  const named = members.map((member) => ({ ...member, name: nameOf(member, domain) }));
  const addresses = named.filter(({ host }) => isIP(host) !== 0);
  const elsewhere = named.flatMap(({ ports: { smtp } }) => (smtp === 25 || !smtp ? [] : [smtp]));
  return [
    `$ORIGIN ${domain}.`,
    `$TTL ${ttlSeconds}`,
    ...warnings(named, elsewhere),
    "",
    "; Mail for the domain. Any member takes it; equal preferences share the load (RFC 5321 §5.1).",
    ...named.map(({ name }) => record("@", "MX", `10 ${name}`)),
    "",
    ...addresses.map(({ host, label }) => record(label, isIPv4(host) ? "A" : "AAAA", host)),
    ...(addresses.length === 0 ? [] : [""]),
    "; Where mail programs send and fetch (RFC 6186, RFC 8314).",
    ...services.flatMap((service) => serviceLines(service, named)),
    "",
    "; Who may send mail as this domain (RFC 7208). `~all`: the rest is suspicious.",
    record("@", "TXT", `"v=spf1 mx ~all"`),
    "",
    "; Settings for Thunderbird and others: serve the output of `chord dns --autoconfig` at",
    `; https://autoconfig.${domain}/mail/config-v1.1.xml`,
    ...named.slice(0, 1).map(({ name }) => record("autoconfig", "CNAME", name)),
  ];
}

/** Below the domain for an address; a host name is one already. */
export function nameOf({ host, label }: DnsMember, domain: string): string {
  return isIP(host) === 0 ? `${host}.` : `${label}.${domain}.`;
}

function serviceLines(
  [service, listener, priority]: (typeof services)[number],
  members: readonly (DnsMember & { readonly name: string })[],
): string[] {
  const offers = members.flatMap(({ name, ports }) => {
    const port = ports[listener];
    return port === undefined ? [] : [record(service, "SRV", `${priority} 1 ${port} ${name}`)];
  });
  if (offers.length > 0) return offers;
  // RFC 6186 §3.4: "." says that the service is not to be had.
  return [record(service, "SRV", "0 0 0 .")];
}

function warnings(members: readonly DnsMember[], elsewhere: readonly number[]): string[] {
  const lines: string[] = [];
  if (members.some(({ host }) => host === "localhost" || /^127\.|^::1$/.test(host))) {
    lines.push(
      "; WARNING: members are reached by loopback addresses, which mean nothing elsewhere.",
    );
  }
  if (elsewhere.length > 0) {
    lines.push(
      `; WARNING: other servers deliver to port 25 only; members listen on ${elsewhere.join(", ")}.`,
    );
  }
  return lines;
}

function record(name: string, type: string, data: string): string {
  return `${name.padEnd(19)} IN ${type.padEnd(5)} ${data}`;
}
