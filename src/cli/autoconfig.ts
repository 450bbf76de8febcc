/**
 * The settings that Thunderbird and others ask a domain for: format "config-v1.1" of
 * wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat. Pure.
 */
import type { DnsMember, ListenerName } from "./zone.js";
import { nameOf } from "./zone.js";

type Offer = readonly [
  listener: ListenerName,
  kind: "incoming" | "outgoing",
  socket: "SSL" | "STARTTLS",
];

/** In the order in which a program is to try them. */
const offers: readonly Offer[] = [
  ["pop3s", "incoming", "SSL"],
  ["pop3", "incoming", "STARTTLS"],
  ["submissions", "outgoing", "SSL"],
  ["submission", "outgoing", "STARTTLS"],
];

export function autoconfig(
  provider: string,
  domains: readonly string[],
  members: readonly DnsMember[],
): string[] {
  const servers = offers.flatMap(([listener, kind, socket]) =>
    members.flatMap((member) => {
      const port = member.ports[listener];
      const host = nameOf(member, provider).replace(/\.$/, "");
      return port === undefined ? [] : server(kind, socket, host, port);
    }),
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<clientConfig version="1.1">',
    `  <emailProvider id="${escaped(provider)}">`,
    ...domains.map((domain) => `    <domain>${escaped(domain)}</domain>`),
    `    <displayName>${escaped(provider)}</displayName>`,
    `    <displayShortName>${escaped(provider)}</displayShortName>`,
    ...servers.map((line) => `    ${line}`),
    "  </emailProvider>",
    "</clientConfig>",
  ];
}

function server(kind: Offer[1], socket: Offer[2], host: string, port: number): string[] {
  const type = kind === "incoming" ? "pop3" : "smtp";
  return [
    `<${kind}Server type="${type}">`,
    `  <hostname>${escaped(host)}</hostname>`,
    `  <port>${port}</port>`,
    `  <socketType>${socket}</socketType>`,
    // The whole address, since an account may be of any domain of the ring.
    "  <username>%EMAILADDRESS%</username>",
    "  <authentication>password-cleartext</authentication>",
    `</${kind}Server>`,
  ];
}

const entities: Readonly<Record<string, string>> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" },
};

function escaped(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (char) => entities[char] ?? "")
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, "\ufffd");
}
