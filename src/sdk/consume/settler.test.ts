import { expect, test } from "vitest";
import type { Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { Settler, type SettlerOptions } from "./settler.js";

function setup(settle: SettlerOptions["settle"]) {
  const closing = new AbortController();
  const settler = new Settler({
    ...{ queue: "jobs", settle, lingerMs: 1, signal: closing.signal },
    hurry: () => undefined,
  });
  return { settler, closing };
}

test("many settlements are one question", async () => {
  const asked: Settlement[] = [];
  const { settler } = setup((settlement) => Promise.resolve(asked.push(settlement)));
  await Promise.all([
    ...["a", "b", "c"].map((entry) => settler.put({ kind: "ack", entry })),
    settler.put({ kind: "nack", entry: "d", delayMs: 50 }),
    settler.put({ kind: "reject", entry: "e" }),
    settler.put({ kind: "extend", entry: "f", ms: 9 }),
  ]);
  expect(asked).toEqual([
    {
      queue: "jobs",
      ack: ["a", "b", "c"],
      nack: [{ entry: "d", delayMs: 50 }],
      reject: ["e"],
      extend: [{ entry: "f", ms: 9 }],
    },
  ]);
});

test("what may be tried again is tried again, and resolves only when it is done", async () => {
  let tries = 0;
  const { settler } = setup(() => {
    tries += 1;
    const failure = new RingpostError("unreachable", "nobody there", true);
    return tries < 3 ? Promise.reject(failure) : Promise.resolve();
  });
  await settler.put({ kind: "ack", entry: "a" });
  expect(tries).toBe(3);
});

test("a refusal is told to those whom it concerns, and to nobody after them", async () => {
  const { settler } = setup(({ ack }) =>
    ack?.includes("bad") === true
      ? Promise.reject(new RingpostError("forbidden", "not yours", false))
      : Promise.resolve(),
  );
  await expect(settler.put({ kind: "ack", entry: "bad" })).rejects.toMatchObject({
    code: "forbidden",
  });
  await settler.put({ kind: "ack", entry: "good" });
});

test("one wish that is not understood fails alone, in however large a question it was", async () => {
  const asked: string[][] = [];
  const { settler } = setup(({ ack = [], nack = [] }) => {
    const entries = [...ack, ...nack.map(({ entry }) => entry)];
    asked.push(entries);
    const isSound = nack.every(({ delayMs }) => delayMs >= 0);
    return isSound
      ? Promise.resolve()
      : Promise.reject(new RingpostError("malformed", "ask.nack: not a duration", false));
  });
  const wishes = Array.from({ length: 1_000 }, (_, n) =>
    n === 700
      ? settler.put({ kind: "nack", entry: "bad", delayMs: -1 })
      : settler.put({ kind: "ack", entry: `${n}` }),
  );
  const outcomes = await Promise.allSettled(wishes);
  const failed = outcomes.flatMap(({ status }, n) => (status === "rejected" ? [n] : []));
  expect(failed).toEqual([700]);
  // By halves, not one by one.
  expect(asked.length).toBeLessThan(30);
});

test("what concerns the whole queue is asked once", async () => {
  let asked = 0;
  const { settler } = setup(() => {
    asked += 1;
    return Promise.reject(new RingpostError("unknown", "there is no queue jobs", false));
  });
  const wishes = Array.from({ length: 100 }, (_, n) => settler.put({ kind: "ack", entry: `${n}` }));
  for (const outcome of await Promise.allSettled(wishes)) expect(outcome.status).toBe("rejected");
  expect(asked).toBe(1);
});

test("a dead letter that can't be stored keeps nobody else waiting", async () => {
  let isStorable = false;
  const { settler } = setup(({ reject = [] }) =>
    reject.length > 0 && !isStorable
      ? Promise.reject(new RingpostError("unreachable", "no place for it", true))
      : Promise.resolve(),
  );
  const rejected = settler.put({ kind: "reject", entry: "a" });
  await Promise.all(["b", "c"].map((entry) => settler.put({ kind: "ack", entry })));
  await settler.put({ kind: "ack", entry: "d" });
  isStorable = true;
  await rejected;
});

test("what is tried again says so, dead letters too: others need not wait for it", async () => {
  const asked: [string, boolean][] = [];
  let isStorable = false;
  const { settler } = setup(({ reject = [] }, { isAgain }) => {
    asked.push([reject.length > 0 ? "with a rejection" : "without", isAgain]);
    if (reject.length === 0 || isStorable) return Promise.resolve();
    isStorable = asked.length >= 3;
    return Promise.reject(new RingpostError("unreachable", "no place for it", true));
  });
  const wishes = [{ kind: "reject", entry: "a" } as const, { kind: "ack", entry: "b" } as const];
  await Promise.all(wishes.map((wish) => settler.put(wish)));
  expect(asked[0]).toEqual(["with a rejection", false]);
  expect(asked.slice(1).every(([, isAgain]) => isAgain)).toBe(true);
  await settler.put({ kind: "ack", entry: "c" });
  expect(asked.at(-1)).toEqual(["without", false]);
});

test("what somebody waits for does not go with the patience of what can wait", async () => {
  const urgencies: boolean[] = [];
  const { settler } = setup((_, { canWait }) => Promise.resolve(urgencies.push(canWait)));
  const patient = { canWait: true };
  await settler.put({ kind: "ack", entry: "a" }, patient);
  await Promise.all([
    settler.put({ kind: "ack", entry: "b" }, patient),
    settler.put({ kind: "ack", entry: "c" }),
  ]);
  expect(urgencies).toEqual([true, false]);
});

test("one that is put as soon as the last is done does not wait for yet another", async () => {
  const { settler } = setup(() => Promise.resolve());
  for (let turns = 0; turns < 10; turns += 1) {
    await settler.put({ kind: "ack", entry: "a" });
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await settler.put({ kind: "ack", entry: "b" });
  }
});

test("a closed client settles nothing", async () => {
  const { settler, closing } = setup(() => Promise.reject(new Error("asked")));
  closing.abort();
  await expect(settler.put({ kind: "ack", entry: "a" })).rejects.toMatchObject({ code: "closed" });
});
