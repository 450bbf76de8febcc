import { beforeEach, describe, expect, test } from "vitest";
import { type Attempt, firstToRead } from "./hedge.js";
import { ManualClock, settle } from "./testing.js";

interface Reading extends Attempt {
  readonly source: string;
  answer(value: string | undefined): Promise<void>;
  fail(): Promise<void>;
}

let clock: ManualClock;
let readings: Reading[];
let discarded: string[];
let caller: AbortController;

beforeEach(() => {
  clock = new ManualClock();
  readings = [];
  discarded = [];
  caller = new AbortController();
});

/** Reads from a, b and c; the test answers for them. */
function reading(): { result: unknown } {
  const state: { result: unknown } = { result: "waits" };
  firstToRead<string, string>({
    ...{ sources: ["a", "b", "c"], stallMs: 250, clock, signal: caller.signal },
    read: (source, attempt) =>
      new Promise((resolve, reject) => {
        const answer = (value: string | undefined): Promise<void> => {
          resolve(value);
          return settle();
        };
        const fail = (): Promise<void> => {
          reject(new Error("silent"));
          return settle();
        };
        readings.push({ source, ...attempt, answer, fail });
      }),
    discard: (value) => {
      discarded.push(value);
      return Promise.resolve();
    },
  }).then(
    (value) => {
      state.result = value;
    },
    (error: unknown) => {
      state.result = error;
    },
  );
  return state;
}

const asked = (): string => readings.map(({ source }) => source).join("");

describe("a read from several sources", () => {
  test("asks one as long as all is well", async () => {
    const state = reading();
    await clock.advance(200);
    readings[0]?.alive();
    await clock.advance(200);
    expect(asked()).toBe("a");
    await readings[0]?.answer("A");
    expect(state.result).toBe("A");
    await clock.advance(1_000);
    expect(asked()).toBe("a");
  });

  test.each([
    ["fails", (first: Reading | undefined) => first?.fail()],
    ["hasn't got it", (first: Reading | undefined) => first?.answer(undefined)],
  ])("goes on at once when one %s", async (_, end) => {
    const state = reading();
    await end(readings[0]);
    expect(asked()).toBe("ab");
    await readings[1]?.answer("B");
    expect(state.result).toBe("B");
  });

  test("asks the next one beside one that stalls, and takes whoever is first", async () => {
    const state = reading();
    await clock.advance(250);
    await clock.advance(250);
    expect(asked()).toBe("abc");
    await readings[1]?.answer("B");
    expect(state.result).toBe("B");
    expect(readings.every(({ signal }) => signal.aborted)).toBe(true);
    await readings[0]?.answer("A");
    expect(discarded).toEqual(["A"]);
  });

  test("answers nothing when none has it, not before all have said so", async () => {
    const state = reading();
    await clock.advance(250);
    await readings[1]?.fail();
    await readings[2]?.answer(undefined);
    expect(state.result).toBe("waits");
    await readings[0]?.fail();
    expect(state.result).toBeUndefined();
  });

  test("ends with its caller", async () => {
    const state = reading();
    caller.abort(new Error("gone"));
    await settle();
    expect(state.result).toEqual(new Error("gone"));
    expect(readings[0]?.signal.aborted).toBe(true);
    await readings[0]?.fail();
    expect(asked()).toBe("a");
  });
});
