/** The acceptor of `acceptor.ts` on this member: nobody learns a state before it is on disk. */
import type { RegisterState } from "../shared/operation.js";
import { StoreFullError } from "../shared/store-errors.js";
import { accept, prepare } from "./acceptor.js";
import { untouched } from "./ballot.js";
import type { Fence } from "./fence.js";
import type { Caller, ReplyOf, RequestOf } from "./peer-methods.js";
import type { Store } from "./ports.js";

export class DurableAcceptor {
  constructor(
    private readonly fence: Fence,
    private readonly store: Store,
  ) {}

  prepare(from: Caller, request: RequestOf<"prepare">): Promise<ReplyOf<"prepare">> {
    const { register, ballot } = request;
    return this.fence.answer(from, request.epoch, async () => {
      const answer = prepare(this.store.register(register) ?? untouched, ballot);
      if (answer.kind === "conflict") return answer;
      await this.remember(register, answer.state);
      const { accepted, value } = answer.state;
      return { kind: "promised", accepted, value };
    });
  }

  accept(from: Caller, request: RequestOf<"accept">): Promise<ReplyOf<"accept">> {
    const { register, ballot, value, next } = request;
    return this.fence.answer(from, request.epoch, async () => {
      const state = this.store.register(register) ?? untouched;
      const answer = accept(state, ballot, value, next);
      if (answer.kind === "conflict") return answer;
      await this.remember(register, answer.state);
      return { kind: "accepted", ...(next && { next: true as const }) };
    });
  }

  /** The store answers the new state at once, so the next call decides by it; ours waits for disk. */
  private remember(register: string, state: RegisterState): Promise<void> {
    return this.store.write([{ kind: "PutRegister", register, state }]);
  }

  read(from: Caller, request: RequestOf<"readRegister">): Promise<ReplyOf<"readRegister">> {
    return this.fence.answer(from, request.epoch, async () => {
      const { store } = this;
      const state = store.register(request.register);
      try {
        await store.durable();
      } catch (error) {
        // On a full disk others' writes are refused all the time. What was not taken back is safe.
        const isSafe =
          error instanceof StoreFullError && store.register(request.register) === state;
        if (!isSafe) throw error;
      }
      const { accepted, value } = state ?? untouched;
      return { kind: "register", accepted, value };
    });
  }
}
