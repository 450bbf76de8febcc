import { expect, test } from "vitest";
import { brokerLimits } from "./limits.js";
import { settleEach } from "./settlement.js";

const many = Array.from({ length: 50 }, (_, n) => ({ queue: `q${n}` }));

/** A clock that goes on when it is told to. */
function setup() {
  let pass: () => void = () => undefined;
  const clock = {
    sleep: (ms: number) => {
      expect(ms).toBe(brokerLimits.settledMs);
      return new Promise<void>((resolve) => (pass = resolve));
    },
  };
  return { clock, pass: () => pass() };
}

test("each has an outcome of its own, whatever becomes of the others", async () => {
  const { clock } = setup();
  const settlements = ["done", "refused", "broken", "done"].map((queue) => ({ queue }));
  const done = await settleEach(settlements, clock, ({ queue }) =>
    queue === "broken" ? Promise.reject(new Error("a bug")) : Promise.resolve(queue === "done"),
  );
  expect(done).toEqual([true, false, false, true]);
});

test("so many are worked off at a time", async () => {
  const { clock } = setup();
  let running = 0;
  let most = 0;
  const done = await settleEach(many, clock, async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return true;
  });
  expect(done).toEqual(many.map(() => true));
  expect(most).toBe(brokerLimits.settledAtATime);
});

test("what takes too long is not done, and keeps nobody's outcome back; nothing begins after that", async () => {
  const { clock, pass } = setup();
  const begun: string[] = [];
  const finish: (() => void)[] = [];
  const settling = settleEach(many, clock, ({ queue }) => {
    begun.push(queue);
    if (queue === "q0") return Promise.resolve(true);
    return new Promise((resolve) => finish.push(() => resolve(true)));
  });
  await expect.poll(() => begun).toHaveLength(1 + brokerLimits.settledAtATime);
  pass();
  const done = await settling;
  expect(done).toEqual(many.map(({ queue }) => queue === "q0"));
  const before = begun.length;
  for (const end of finish) end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toHaveLength(before);
  // What was answered does not change any more.
  expect(done.filter(Boolean)).toHaveLength(1);
});
