/** What this node saw last of the flows that go through it. A hint: another node may have gone on since. */
import type { FlowState } from "./flow.js";
import { brokerLimits } from "./limits.js";

export class KnownFlows {
  /** The one that was used last is the last one. */
  private readonly states = new Map<string, FlowState>();

  get(register: string): FlowState | undefined {
    return this.states.get(register);
  }

  /** Without what only planning and delivering need, which is large. */
  note(register: string, { last, ...state }: FlowState): void {
    const streams = Object.entries(state.streams).map(([stream, { next }]) => [stream, { next }]);
    this.states.delete(register);
    this.states.set(register, {
      ...{ ...state, streams: Object.fromEntries(streams) },
      ...(last && { last: { ...last, destinations: [], bodies: [] } }),
    });
    const [oldest] = this.states.keys();
    if (this.states.size > brokerLimits.rememberedMax && oldest !== undefined) {
      this.states.delete(oldest);
    }
  }

  forget(register: string): void {
    this.states.delete(register);
  }
}
