import { expect, test } from "vitest";
import { settle } from "../replication/testing.js";
import { Turns } from "./turns.js";

test("one after the other for a name, at once for others, and not too many wait", async () => {
  const turns = new Turns(2);
  const log: string[] = [];
  const ends: (() => void)[] = [];
  const work = (text: string) => async () => {
    log.push(text);
    await new Promise<void>((resolve) => ends.push(resolve));
    return text;
  };
  const asked = ["a1", "a2", "a3"].map((text) => turns.take("a", work(text)));
  const other = turns.take("b", work("b1"));
  expect(await turns.take("a", work("a4"))).toBeUndefined();
  await settle();
  expect(log).toEqual(["a1", "b1"]);
  for (let n = 0; n < 4; n += 1) {
    ends.shift()?.();
    await settle();
  }
  expect(log).toEqual(["a1", "b1", "a2", "a3"]);
  expect(await Promise.all([...asked, other])).toEqual(["a1", "a2", "a3", "b1"]);
});

test("a failure ends a turn, too", async () => {
  const turns = new Turns(2);
  const failed = turns.take("a", () => Promise.reject(new Error("no")));
  const next = turns.take("a", () => Promise.resolve("yes"));
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
  expect(await turns.take("a", () => Promise.resolve("again"))).toBe("again");
});
