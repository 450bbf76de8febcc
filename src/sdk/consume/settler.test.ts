import { expect, test } from "vitest";
import type { Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { Settler } from "./settler.js";

function setup(settle: (settlement: Settlement) => Promise<unknown>) {
  const closing = new AbortController();
  const settler = new Settler({ queue: "jobs", settle, lingerMs: 1, signal: closing.signal });
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

test("a closed client settles nothing", async () => {
  const { settler, closing } = setup(() => Promise.reject(new Error("asked")));
  closing.abort();
  await expect(settler.put({ kind: "ack", entry: "a" })).rejects.toMatchObject({ code: "closed" });
});
