/** `chord dns`: what to put into the zone of the ring's domain, and what mail programs ask for. */
import type { MemberStatus, StatusReply } from "../shared/admin.js";
import { autoconfig } from "./autoconfig.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { CliError, oneLine } from "./errors.js";
import { type DnsMember, zoneLines } from "./zone.js";
import type { World } from "./world.js";

export interface DnsOptions extends EntryOptions {
  readonly autoconfig?: boolean;
}

/** As members tell of them, where they have one. */
interface TlsListeners {
  readonly submission?: string;
  readonly submissions?: string;
  readonly pop3s?: string;
}

export async function dns(world: World, options: DnsOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("status", {});
  const members = membersOf(reply);
  if (members.length === 0) throw new CliError("no member tells where it listens");
  const domains = checked((await entry.ask("domainList", {})).domains);
  if (options.autoconfig === true) {
    const [first = reply.ring.domain] = domains;
    for (const line of autoconfig(first, domains, members)) world.output.line(line);
    return;
  }
  for (const [at, domain] of domains.entries()) {
    if (at > 0) world.output.line();
    for (const line of zoneLines(domain, members)) world.output.line(line);
  }
}

/** Whatever a member says, a line of the zone is one record. @throws CliError */
function checked(domains: readonly string[]): readonly string[] {
  for (const name of domains) {
    const isName = /^(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/.test(name);
    if (!isName) throw new CliError(oneLine(`the ring serves ${name}, which is no domain name`));
  }
  return domains;
}

/** Those that serve, in order of their ids, so that the same ring prints the same zone. */
function membersOf({ members }: StatusReply): DnsMember[] {
  return members
    .filter(({ state, smtp }) => state === "active" && smtp !== undefined && smtp !== "")
    .sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1))
    .map((member: MemberStatus & TlsListeners, at) => ({
      label: `mx${at + 1}`,
      host: hostOf(member.addr),
      ports: {
        smtp: portOf(member.smtp),
        pop3: portOf(member.pop3),
        submission: portOf(member.submission),
        submissions: portOf(member.submissions),
        pop3s: portOf(member.pop3s),
      },
    }));
}

const hostOf = (addr: string): string =>
  addr.slice(0, addr.lastIndexOf(":")).replace(/^\[|\]$/g, "");

function portOf(endpoint: string | undefined): number | undefined {
  const port = Number(endpoint?.slice(endpoint.lastIndexOf(":") + 1));
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : undefined;
}
