/** How a node comes onto the roster, and how members let it. */
import type { Address, MemberUuid, RingId } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { Membership } from "./membership.js";
import type { Caller, JoinReply, RequestOf } from "./peer-methods.js";
import type { Peers } from "./peers.js";
import type { Clock } from "./ports.js";
import { inTransition, rosterToJson } from "./roster.js";

/** The ring does not want this node. The message says why, in one line. */
export class JoinRefusedError extends Error {
  override readonly name = "JoinRefusedError";
}

interface JoiningOptions {
  readonly self: Caller & { readonly id: RingId };
  readonly membership: Membership;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Log;
}

const retryMs = 200;
const joinCallDeadlineMs = 10_000;

export class Joining {
  constructor(private readonly options: JoiningOptions) {}

  /**
   * Asks members until this node is on the roster. `giveUpMs` counts while nobody answers at all;
   * a ring that is busy with another change is waited for. Those who say so name the others, who
   * are asked as well once one of `entries` is silent: it may have left the ring meanwhile.
   * @throws JoinRefusedError
   */
  async join(entries: readonly Address[], giveUpMs: number, signal: AbortSignal): Promise<void> {
    const { membership, clock, log } = this.options;
    let silentSinceMs = clock.monotonicMs();
    let lastError = "";
    const asked = new Set(entries);
    const named = new Set<Address>();
    while (!signal.aborted) {
      // Those who are added meanwhile have their turn in the same round.
      for (const addr of asked) {
        try {
          const reply = await this.ask(addr);
          silentSinceMs = clock.monotonicMs();
          if (reply.kind === "refused") throw new JoinRefusedError(reply.why);
          if (reply.kind === "roster") await membership.learn(reply.roster);
          else {
            log.debug({ why: reply.why }, "the ring is busy: waiting to join");
            for (const member of reply.members) named.add(member);
          }
        } catch (error) {
          if (error instanceof JoinRefusedError) throw error;
          for (const member of named) asked.add(member);
          lastError = error instanceof Error ? error.message : String(error);
        }
        if (membership.selfMember?.addr === this.options.self.addr) return;
      }
      if (clock.monotonicMs() - silentSinceMs > giveUpMs) {
        throw new JoinRefusedError(
          `no member answers at ${[...asked].join(", ")} (${lastError}); start one there or correct --entry`,
        );
      }
      await clock.sleep(retryMs, signal).catch(() => undefined);
    }
  }

  private ask(addr: Address): Promise<JoinReply> {
    const { self, peers, membership } = this.options;
    const { uuid, id } = self;
    const entry = { uuid: "" as MemberUuid, addr };
    const request = { id: id.toString(), addr: self.addr, uuid, ring: membership.roster.ring };
    return peers.call(entry, "join", request, { deadlineMs: joinCallDeadlineMs });
  }

  /** Resolves when this node's data has arrived and it serves its ranges. */
  async untilActive(signal: AbortSignal): Promise<void> {
    const { membership } = this.options;
    await new Promise<void>((resolve) => {
      const check = (): void => {
        const state = membership.selfMember?.state;
        // Taken off the roster while it joined, it asks again: it is not there yet.
        if (state !== undefined && state !== "joining") resolve();
      };
      membership.onChange(check);
      signal.addEventListener("abort", () => resolve(), { once: true });
      check();
    });
  }

  /** Serves `join`. */
  async admit(request: RequestOf<"join">): Promise<JoinReply> {
    const answer = await this.tryToAdmit(request);
    if (answer.kind !== "busy") return answer;
    const { members } = this.options.membership.roster;
    const others = members.filter(({ state, addr }) => state === "active" && addr !== request.addr);
    return { ...answer, members: others.map(({ addr }) => addr) };
  }

  private async tryToAdmit(
    request: RequestOf<"join">,
  ): Promise<Exclude<JoinReply, { kind: "busy" }> | { kind: "busy"; why: string }> {
    const { membership } = this.options;
    const { roster, self } = membership;
    if (membership.selfMember?.state !== "active") {
      return { kind: "busy", why: `the member at ${self.addr} is not active itself` };
    }
    const difference = differenceOf(roster.ring, request.ring);
    if (difference) return { kind: "refused", why: difference };
    const id = BigInt(request.id) as RingId;
    const { addr, uuid } = request;
    const known = roster.members.find((member) => member.uuid === uuid);
    if (known) {
      if (known.evicted) return { kind: "busy", why: "its eviction is not complete" };
      if (known.addr !== addr) await membership.change({ kind: "move", uuid, addr });
      return { kind: "roster", roster: rosterToJson(membership.roster) };
    }
    const former = roster.members.find((member) => member.addr === addr);
    if (former && !inTransition(roster)) {
      const retired = { kind: "retire", uuid: former.uuid, evicted: true } as const;
      const answer = await membership.change(retired);
      if (answer.kind === "undecided") {
        return {
          kind: "refused",
          why:
            `member ${former.id} was at ${addr} with other data, and too few members answer to ` +
            `take it out; run: chord evict ${former.id} --force --entry ${self.addr}`,
        };
      }
      return { kind: "busy", why: `the former member at ${addr} is being taken out` };
    }
    const answer = await membership.change({ kind: "admit", member: { id, addr, uuid } });
    if (answer.kind === "undecided") return { kind: "busy", why: "no majority of members answers" };
    if (answer.kind !== "done") return answer;
    return { kind: "roster", roster: rosterToJson(membership.roster) };
  }
}

function differenceOf(
  ours: { bits: number; replicas: number; domain: string },
  theirs: { bits: number; replicas: number; domain: string },
): string | undefined {
  for (const key of ["bits", "replicas", "domain"] as const) {
    if (ours[key] !== theirs[key]) {
      return `the ring has --${key} ${ours[key]}, not ${theirs[key]}; start with the same`;
    }
  }
  return undefined;
}
