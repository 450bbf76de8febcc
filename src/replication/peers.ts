import type { MemberUuid } from "../shared/ids.js";
import { Liveness } from "./liveness.js";
import type { Caller, PeerHandlers, PeerMethodName, ReplyOf, RequestOf } from "./peer-methods.js";
import { type PeerCaller, type PeerMessage, PeerUnavailableError } from "./ports.js";
import { checkRequest } from "./request-shapes.js";

export interface CallOptions {
  /** A call without one is given up as soon as its member goes quiet. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * A slow disk is waited for, longer than by others; one that hangs must not hold up who waits for a majority, or
 * for the word of all, and whatever has to wait for them in turn.
 */
const ownDeadlineMs = 15_000;

/** Calls between members, typed; a call to oneself takes the short way. */
export class Peers {
  readonly liveness = new Liveness();
  private handlers: PeerHandlers | undefined;

  constructor(
    readonly self: Caller,
    private readonly caller: PeerCaller,
  ) {}

  /** The handlers need what needs the peers, so they come second. */
  serve(handlers: PeerHandlers): void {
    this.handlers = handlers;
  }

  isSelf(uuid: MemberUuid): boolean {
    return uuid === this.self.uuid;
  }

  /** @throws PeerUnavailableError */
  async call<M extends PeerMethodName>(
    to: Caller,
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): Promise<ReplyOf<M>> {
    if (this.isSelf(to.uuid)) return this.callSelf(method, request, options);
    // The address may have a new tenant, whose word must not be taken for the former one's.
    const addressed = to.uuid === "" ? request : { ...request, to: to.uuid };
    const reply =
      options.deadlineMs === undefined
        ? await this.callWhileHeard(to, method, addressed, options)
        : await this.caller.call(to.addr, method, addressed, options);
    return reply as ReplyOf<M>;
  }

  /**
   * A frozen member, or one behind a cut cable, would hold up its callers until the connection is
   * given up. When it misses its beats, what is asked of it fails, as if it were known to be down.
   */
  private callWhileHeard(
    to: Caller,
    method: string,
    request: PeerMessage,
    options: CallOptions,
  ): Promise<PeerMessage> {
    const { liveness } = this;
    const quiet = (reason: PeerUnavailableError["reason"]): PeerUnavailableError =>
      new PeerUnavailableError(to.addr, reason, `${to.addr}: ${method}: the member is quiet`);
    if (liveness.isQuiet(to.uuid)) return Promise.reject(quiet("unreachable"));
    return new Promise((resolve, reject) => {
      const cancel = liveness.whenQuiet(to.uuid, () => reject(quiet("deadline")));
      this.caller.call(to.addr, method, request, options).then(resolve, reject).finally(cancel);
    });
  }

  /** Nobody hears that this member is quiet. */
  private callSelf<M extends PeerMethodName>(
    method: M,
    request: RequestOf<M>,
    { deadlineMs = 0 }: CallOptions,
  ): Promise<ReplyOf<M>> {
    const ms = Math.max(deadlineMs, ownDeadlineMs);
    const { addr } = this.self;
    return new Promise((resolve, reject) => {
      const why = `${method}: this member itself has not answered within ${ms} ms; does its disk?`;
      const late = (): void => reject(new PeerUnavailableError(addr, "deadline", why));
      const cancel = this.liveness.after(ms, late);
      this.handle(this.self, method, request).then(resolve, reject).finally(cancel);
    });
  }

  async handle<M extends PeerMethodName>(
    from: Caller,
    method: M,
    request: RequestOf<M>,
  ): Promise<ReplyOf<M>> {
    const handler = this.handlers?.[method];
    if (!handler) throw new Error(`this member does not answer ${JSON.stringify(method)}`);
    return handler(from, request);
  }

  /** A call that came in over the wire. One that is meant for another member is refused. */
  async incoming(from: Caller, method: string, message: PeerMessage): Promise<PeerMessage> {
    const { to } = message as { to?: unknown };
    if (to !== undefined && to !== this.self.uuid) {
      throw new Error(`the member at ${this.self.addr} is not the one that was asked`);
    }
    if (!this.handlers || !Object.hasOwn(this.handlers, method)) {
      throw new Error(`unknown method ${JSON.stringify(method.slice(0, 40))}`);
    }
    checkRequest(method as PeerMethodName, message);
    return this.handle(from, method as PeerMethodName, message as never);
  }
}
