import { beforeEach, describe, expect, test } from "vitest";
import { ManualClock } from "./testing.js";
import { TryTable } from "./try-table.js";

const bounds = { windowMs: 1_000, max: 3 };
let clock: ManualClock;
let table: TryTable;
beforeEach(() => {
  clock = new ManualClock();
  table = new TryTable(clock, 4);
});

const ids = (key: string, id: string): string[] => table.note(key, id, bounds).map((t) => t.id);

describe("tries of a key", () => {
  test("are told with their age, and one that is noted again stays as it is", async () => {
    table.note("ann", "a", bounds);
    await clock.advance(400);
    table.note("ann", "a", bounds);
    expect(table.note("ann", "b", bounds)).toEqual([
      { id: "a", ageMs: 400 },
      { id: "b", ageMs: 0 },
    ]);
    expect(ids("bob", "c")).toEqual(["c"]);
  });

  test("beyond the bound are not noted, and see as many others as the bound", () => {
    for (const id of ["a", "b", "c"]) ids("ann", id);
    for (let n = 0; n < 100; n += 1) expect(ids("ann", `more ${n}`)).toEqual(["a", "b", "c"]);
    table.release("ann", "b");
    expect(ids("ann", "d")).toEqual(["a", "c", "d"]);
  });

  test("count for the window and no longer, each from its own moment", async () => {
    ids("ann", "a");
    await clock.advance(600);
    ids("ann", "b");
    await clock.advance(399);
    expect(ids("ann", "c")).toEqual(["a", "b", "c"]);
    await clock.advance(1);
    expect(ids("ann", "d")).toEqual(["b", "c", "d"]);
  });

  test("that are released leave nothing behind", () => {
    ids("ann", "a");
    table.release("ann", "a");
    table.release("ann", "never there");
    table.release("bob", "a");
    expect(table.size).toBe(0);
  });
});

describe("keys", () => {
  test("are bounded: the one that was not used for longest goes", () => {
    for (const key of ["k1", "k2", "k3", "k4"]) ids(key, "a");
    ids("k1", "b");
    ids("k5", "a");
    expect(table.size).toBe(4);
    expect(ids("k1", "c")).toEqual(["a", "b", "c"]);
    expect(ids("k2", "z")).toEqual(["z"]);
  });

  test("of absurd length are a bug of the caller", () => {
    expect(() => table.note("k".repeat(513), "a", bounds)).toThrow();
    expect(() => table.note("k", "a".repeat(33), bounds)).toThrow();
  });
});
