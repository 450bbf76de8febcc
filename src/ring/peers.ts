/** Calls to other members, as values: a reply or nothing. */
import type { Address, MemberUuid } from "../shared/ids.js";
import { headerOf } from "./answer.js";
import type { MemberRef, RingParameters } from "./member.js";
import {
  encodeRingMessage,
  idsWithin,
  parseRingMessage,
  type Reply,
  type Request,
} from "./message.js";
import type { RingPorts } from "./ports.js";
import type { Outcome } from "./state.js";

type Body = Request extends infer R ? (R extends Request ? Omit<R, "ring"> : never) : never;

/** More silent members than this are not worth remembering. */
const silentMax = 1_024;

export class Peers {
  readonly #ports: RingPorts;
  readonly #parameters: RingParameters;
  readonly #deadlineMs: number;
  readonly #silent = new Set<MemberUuid>();

  constructor(ports: RingPorts, parameters: RingParameters, deadlineMs: number) {
    this.#ports = ports;
    this.#parameters = parameters;
    this.#deadlineMs = deadlineMs;
  }

  /** The reply, or undefined when there is none in time or it cannot be understood. */
  async ask(addr: Address, body: Body): Promise<Reply | undefined> {
    const request: Request = { ...body, ring: headerOf(this.#parameters) };
    let value: unknown;
    try {
      value = await this.#ports.call(addr, encodeRingMessage(request), {
        deadlineMs: this.#deadlineMs,
      });
    } catch {
      return undefined;
    }
    const parsed = parseRingMessage(value);
    if (!parsed.ok || !idsWithin(parsed.message, this.#parameters.bits)) {
      const error = parsed.ok ? "an id is out of range" : parsed.error;
      this.#ports.log.warn({ addr, error }, "ring: a reply is malformed");
      return undefined;
    }
    return isReply(parsed.message) ? parsed.message : undefined;
  }

  /** As `ask`; a reply from anybody but `member` (another node at its address) is none. */
  async askMember(member: MemberRef, body: Body): Promise<Reply | undefined> {
    const reply = await this.ask(member.addr, body);
    const isIt = reply !== undefined && isFrom(reply, member);
    this.#note(member.uuid, isIt);
    return isIt ? reply : undefined;
  }

  /** A step's query. */
  async query(what: "state" | "ping", to: MemberRef, from: MemberRef): Promise<Outcome> {
    return outcomeOf(
      await this.askMember(to, what === "ping" ? { kind: "ping" } : { kind: what, from }),
      to,
    );
  }

  isSilent(uuid: MemberUuid): boolean {
    return this.#silent.has(uuid);
  }

  #note(uuid: MemberUuid, answered: boolean): void {
    if (answered) this.#silent.delete(uuid);
    else if (this.#silent.size < silentMax) this.#silent.add(uuid);
  }
}

/** What a reply to a query means for the step that asked. */
export function outcomeOf(reply: Reply | undefined, to: MemberRef): Outcome {
  if (reply === undefined || !isFrom(reply, to)) return { kind: "dead" };
  switch (reply.kind) {
    case "view": {
      const { predecessor, successors, known } = reply;
      return { kind: "state", view: { self: to, predecessor, successors }, known };
    }
    case "pending":
      return { kind: "pending" };
    case "pong":
      return { kind: "alive" };
    default:
      return { kind: "dead" };
  }
}

function isFrom(reply: Reply, member: MemberRef): boolean {
  return "self" in reply && reply.self.uuid === member.uuid && reply.self.id === member.id;
}

function isReply(message: Request | Reply): message is Reply {
  return !("ring" in message);
}
