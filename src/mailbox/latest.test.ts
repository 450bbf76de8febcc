import { expect, test } from "vitest";
import { Latest } from "./latest.js";

/** What is asked answers with the value of the moment it was asked at. */
function world() {
  const latest = new Latest<number>();
  const asked: (() => void)[] = [];
  const state = { value: 0, asked };
  const ask = (name = "a"): Promise<number> =>
    latest.ask(name, () => {
      const { value } = state;
      return new Promise((resolve) => asked.push(() => resolve(value)));
    });
  return { state, asked, ask };
}

test("those that come while one is under way share the next, whose answer is not older than they", async () => {
  const { state, asked, ask } = world();
  const first = ask();
  state.value = 1;
  const others = [ask(), ask(), ask()];
  expect(asked).toHaveLength(1);
  asked[0]?.();
  expect(await first).toBe(0);
  await Promise.resolve();
  expect(asked).toHaveLength(2);
  state.value = 2;
  const later = ask();
  asked[1]?.();
  expect(await Promise.all(others)).toEqual([1, 1, 1]);
  await Promise.resolve();
  asked[2]?.();
  expect(await later).toBe(2);
  const alone = ask();
  expect(asked).toHaveLength(4);
  asked[3]?.();
  expect(await alone).toBe(2);
});

test("names do not wait for each other; one that fails does not fail the next", async () => {
  const { asked, ask } = world();
  const one = ask("a");
  const two = ask("b");
  expect(asked).toHaveLength(2);
  for (const answer of asked) answer();
  expect(await Promise.all([one, two])).toEqual([0, 0]);
  const latest = new Latest<number>();
  const failing = latest.ask("a", () => Promise.reject(new Error("down")));
  const next = latest.ask("a", () => Promise.resolve(7));
  await expect(failing).rejects.toThrow("down");
  expect(await next).toBe(7);
});
