import { describe, expect, test } from "vitest";
import { type Gathered, Groups } from "./group.js";
import { heldPeers, memberOf, rosterOf, settle } from "./testing.js";

/** Asks a ring of `size` for a lock; the test answers for the members. */
async function asking(size: number, alone: boolean) {
  const roster = rosterOf(Array.from({ length: size }, (_, i) => memberOf(i + 1)));
  const { peers, calls } = heldPeers();
  const groups = new Groups(peers, { roster, learn: () => Promise.resolve() });
  const state: { gathered?: Gathered<unknown> } = {};
  const request = { mailbox: "ann@ring.test" as never, session: "s" };
  const options = { alone, counts: (reply: { kind: string }) => reply.kind === "held" };
  void groups.ask("ann@ring.test", "checkLock", request, options).then((gathered) => {
    state.gathered = gathered;
  });
  await settle();
  return { calls, state };
}

describe("a quorum", () => {
  test.each([
    ["two of three", 3, false, ["held", "held"], true],
    ["one of three", 3, true, ["held", "lost", undefined], false],
    ["one of two", 2, false, ["held", undefined], false],
    ["one of two that goes on alone, the other silent", 2, true, ["held", undefined], true],
    ["one of two, the other of another mind", 2, true, ["held", "lost"], false],
    ["none of two", 2, true, [undefined, undefined], false],
  ] as const)("of %s", async (_, size, alone, answers, expected) => {
    const { calls, state } = await asking(size, alone);
    for (const [index, answer] of answers.entries()) {
      await (answer ? calls[index]?.answer({ kind: answer }) : calls[index]?.fail());
    }
    expect(state.gathered?.quorum).toBe(expected);
  });

  test("is not waited for any longer when it is there", async () => {
    const { calls, state } = await asking(3, false);
    await calls[2]?.answer({ kind: "held" });
    expect(state.gathered).toBeUndefined();
    await calls[0]?.answer({ kind: "held" });
    expect(state.gathered?.quorum).toBe(true);
  });
});
