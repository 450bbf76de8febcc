import { expect, test } from "vitest";
import type { FlowState } from "./flow.js";
import { KnownFlows } from "./known-flows.js";
import { brokerLimits } from "./limits.js";

const { streamsMax, rememberedMax, rememberedStreamsMax } = brokerLimits;

const flowOf = (streams: number): FlowState => ({
  ...{ epoch: 1, lastIdMs: 0 },
  streams: Object.fromEntries(
    Array.from({ length: streams }, (_, n) => [`s${n}`, { next: [1, 0] as const }]),
  ),
});

test("however many streams devices have, only so many are remembered; the oldest flows are forgotten", () => {
  const known = new KnownFlows();
  const flows = Math.floor(rememberedStreamsMax / streamsMax);
  for (let n = 0; n < flows + 3; n += 1) {
    known.note(`flow:${n}`, flowOf(streamsMax));
    // Noting the same again takes no more room.
    known.note(`flow:${n}`, flowOf(streamsMax));
  }
  const kept = Array.from({ length: flows + 3 }, (_, n) => known.get(`flow:${n}`) !== undefined);
  expect(kept).toEqual([false, false, false, ...Array<boolean>(flows).fill(true)]);
  for (let n = 0; n < flows + 3; n += 1) known.forget(`flow:${n}`);
  for (let n = 0; n <= rememberedMax; n += 1) known.note(`small:${n}`, flowOf(1));
  expect(known.get("small:0")).toBeUndefined();
  expect(known.get("small:1")).toBeDefined();
  expect(known.get(`small:${rememberedMax}`)).toBeDefined();
});
