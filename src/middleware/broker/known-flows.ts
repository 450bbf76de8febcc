/** What this node saw last of the flows that go through it. A hint: another node may have gone on since. */
import type { FlowState } from "./flow.js";
import { brokerLimits } from "./limits.js";

export class KnownFlows {
  /** The one that was used last is the last one. */
  private readonly states = new Map<string, FlowState>();
  /** Of all together. */
  private streams = 0;

  get(register: string): FlowState | undefined {
    return this.states.get(register);
  }

  /** Without what only planning and delivering need, which is large. */
  note(register: string, { last, ...state }: FlowState): void {
    const streams = Object.entries(state.streams).map(([stream, { next }]) => [stream, { next }]);
    this.forget(register);
    this.streams += streams.length;
    this.states.set(register, {
      ...{ ...state, streams: Object.fromEntries(streams) },
      ...(last && { last: { ...last, destinations: [], bodies: [] } }),
    });
    for (const oldest of this.states.keys()) {
      const isTooMuch = this.streams > brokerLimits.rememberedStreamsMax;
      if (this.states.size <= brokerLimits.rememberedMax && !isTooMuch) return;
      this.forget(oldest);
    }
  }

  forget(register: string): void {
    const known = this.states.get(register);
    if (known) this.streams -= Object.keys(known.streams).length;
    this.states.delete(register);
  }
}
