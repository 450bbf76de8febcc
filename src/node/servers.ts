/** Where clients reach the members: what these tell, remembered for when they are away. */
import { formatEndpoint, isWildcard, parseEndpoint } from "../config/index.js";
import type { ServerEndpoints } from "../ebm/index.js";
import type { Clock } from "../replication/ports.js";
import type { Member } from "../replication/roster.js";
import type { MemberUuid } from "../shared/ids.js";

interface ServersOptions {
  readonly members: () => readonly Member[];
  /** Rejects when the member does not answer in time. */
  readonly statusOf: (member: Member, deadlineMs: number) => Promise<unknown>;
  readonly clock: Pick<Clock, "monotonicMs">;
}

interface Known {
  readonly endpoints: ServerEndpoints | undefined;
  /** To be asked again then. */
  readonly untilMs: number;
}

/** Listeners stay where they are as long as a member runs. */
const rememberedMs = 60_000;
/** One that did not answer is asked again so soon. */
const silentMs = 5_000;
/** Somebody waits for a login. */
const deadlineMs = 500;
const names = ["submission", "submissions", "pop3s"] as const;

export class Servers {
  private readonly known = new Map<MemberUuid, Known>();

  constructor(private readonly options: ServersOptions) {}

  /** Never rejects. */
  async list(): Promise<readonly ServerEndpoints[]> {
    const members = this.options.members();
    for (const uuid of this.known.keys()) {
      if (!members.some((member) => member.uuid === uuid)) this.known.delete(uuid);
    }
    const all = await Promise.all(members.map((member) => this.endpointsOf(member)));
    return all.flatMap((endpoints) => endpoints ?? []);
  }

  private async endpointsOf(member: Member): Promise<ServerEndpoints | undefined> {
    const { clock, statusOf } = this.options;
    const known = this.known.get(member.uuid);
    if (known && known.untilMs > clock.monotonicMs()) return known.endpoints;
    let endpoints: ServerEndpoints | undefined;
    try {
      endpoints = endpointsIn(await statusOf(member, deadlineMs), member.addr);
    } catch {
      // It may be back in a moment, where it was.
    }
    const untilMs = clock.monotonicMs() + (endpoints ? rememberedMs : silentMs);
    this.known.set(member.uuid, { endpoints: endpoints ?? known?.endpoints, untilMs });
    return endpoints ?? known?.endpoints;
  }
}

function endpointsIn(status: unknown, addr: string): ServerEndpoints | undefined {
  const told = (status ?? {}) as Readonly<Record<string, unknown>>;
  const [smtp, pop3] = [reachable(told["smtp"], addr), reachable(told["pop3"], addr)];
  if (smtp === undefined || pop3 === undefined) return undefined;
  const others = names.flatMap((name) => {
    const at = reachable(told[name], addr);
    return at === undefined ? [] : [[name, at] as const];
  });
  return { smtp, pop3, ...Object.fromEntries(others) };
}

/** One that listens on every interface is reached where the other members reach it. */
function reachable(text: unknown, addr: string): string | undefined {
  if (typeof text !== "string") return undefined;
  const at = parseEndpoint(text, { portMin: 1 });
  const member = parseEndpoint(addr, { portMin: 1 });
  if (!at.ok || !member.ok) return undefined;
  const host = isWildcard(at.value.host) ? member.value.host : at.value.host;
  return formatEndpoint({ host, port: at.value.port });
}
