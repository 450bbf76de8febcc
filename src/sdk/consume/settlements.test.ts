import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Ask, Settled, Settlement } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { SettlementMails } from "./settlements.js";

type Asked = Ask<"settle">;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
/** As long as anything here may wait. */
const done = async <T>(work: Promise<T>): Promise<T> => (await Promise.all([work, pass(2_000)]))[0];

function setup(answer: (asked: Asked) => Promise<Settled>) {
  const asked: Asked[] = [];
  const settlements = new SettlementMails({
    ask: (question) => {
      asked.push(question);
      return answer(question);
    },
    nowMs: Date.now,
    closing: new AbortController().signal,
  });
  const ack = (queue: string, { canWait = false, isAgain = false } = {}): Promise<void> =>
    settlements.settle({ queue, ack: [queue] }, { canWait, isAgain });
  return { settlements, asked, ack };
}

const queuesOf = (asked: Asked): string[] =>
  "settlements" in asked ? asked.settlements.map(({ queue }) => queue) : [asked.queue];
const all = (): Promise<Settled> => Promise.resolve({});
const refused = (code: "malformed" | "unknown" | "denied", isRetryable = false) =>
  Promise.reject(new RingpostError(code, `the ring says ${code}`, isRetryable));

test("those of several queues that come together are one question", async () => {
  const { asked, ack } = setup(all);
  await done(Promise.all(["a", "b", "c"].map((queue) => ack(queue))));
  expect(asked).toEqual([
    { settlements: ["a", "b", "c"].map((queue) => ({ queue, ack: [queue] })) },
  ]);
});

test("one alone is asked in the form that every member knows", async () => {
  const { asked, ack } = setup(all);
  await done(ack("a"));
  expect(asked).toEqual([{ queue: "a", ack: ["a"] }]);
});

test("one queue that fails is asked for by itself, and told why; the others are done and not repeated", async () => {
  const { asked, ack } = setup((question) => {
    if ("settlements" in question) return Promise.resolve({ done: [true, false, true] });
    return refused("unknown");
  });
  const outcomes = await done(Promise.allSettled(["a", "b", "c"].map((queue) => ack(queue))));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ code: "unknown" });
  expect(asked.map(queuesOf)).toEqual([["a", "b", "c"], ["b"]]);
});

test("an answer that is cut short acknowledges nothing that it does not name", async () => {
  const again: string[] = [];
  const { ack } = setup((question) => {
    if ("settlements" in question) return Promise.resolve({ done: [true] });
    again.push(question.queue);
    return all();
  });
  await done(Promise.all(["a", "b", "c"].map((queue) => ack(queue))));
  expect(again).toEqual(["b", "c"]);
});

test("a queue that never answers keeps nobody waiting: not those of its mail, nor what comes later", async () => {
  const { ack } = setup((question) => {
    if ("settlements" in question) {
      return Promise.resolve({ done: question.settlements.map(({ queue }) => queue !== "stuck") });
    }
    return question.queue === "stuck" ? new Promise(() => undefined) : all();
  });
  let isStuck = true;
  void ack("stuck").finally(() => (isStuck = false));
  await done(Promise.all([ack("a"), ack("b")]));
  await done(ack("a"));
  // By itself in its mail, then.
  void ack("stuck").finally(() => (isStuck = false));
  await pass(20);
  await done(ack("b"));
  expect(isStuck).toBe(true);
});

test("what comes while a mail is on its way goes with the next one", async () => {
  let finish: () => void = () => undefined;
  const first = new Promise<void>((resolve) => (finish = resolve));
  const { asked, ack } = setup(async (question) => {
    if (queuesOf(question).includes("first")) await first;
    return {};
  });
  const waiting = [ack("first")];
  await pass(10);
  for (const queue of ["a", "b", "c"]) {
    waiting.push(ack(queue));
    await pass(300);
  }
  expect(asked).toHaveLength(1);
  finish();
  await done(Promise.all(waiting));
  expect(asked.map(queuesOf)).toEqual([["first"], ["a", "b", "c"]]);
});

test("what nobody waits for goes with what somebody waits for, and at the latest by itself", async () => {
  const { asked, ack, settlements } = setup(all);
  const later = ack("a", { canWait: true });
  await pass(10);
  const urgent = ack("b");
  await pass(10);
  await Promise.all([urgent, later]);
  expect(asked.map(queuesOf)).toEqual([["a", "b"]]);
  await done(ack("c", { canWait: true }));
  const hurried = ack("d", { canWait: true });
  settlements.hurry();
  await pass(10);
  await hurried;
  expect(asked.map(queuesOf).slice(1)).toEqual([["c"], ["d"]]);
});

test("an older member is asked one by one, and a while later it may be a newer one", async () => {
  let isOld = true;
  const { asked, ack } = setup((question) =>
    isOld && "settlements" in question ? refused("malformed") : all(),
  );
  await done(Promise.all([ack("a"), ack("b")]));
  expect(asked.map(queuesOf)).toEqual([["a", "b"], ["a"], ["b"]]);
  asked.length = 0;
  await done(Promise.all([ack("a"), ack("b")]));
  expect(asked.map(queuesOf)).toEqual([["a"], ["b"]]);
  isOld = false;
  await pass(61_000);
  asked.length = 0;
  await done(Promise.all([ack("a"), ack("b")]));
  expect(asked.map(queuesOf)).toEqual([["a", "b"]]);
});

test("what refuses the mail as a whole refuses each, and is asked once", async () => {
  const { asked, ack } = setup(() => refused("denied"));
  const outcomes = await done(Promise.allSettled([ack("a"), ack("b")]));
  for (const { status } of outcomes) expect(status).toBe("rejected");
  expect(asked).toHaveLength(1);
});

test("what did not go well before goes by itself", async () => {
  const { asked, ack } = setup(all);
  await done(Promise.all([ack("a"), ack("b", { isAgain: true }), ack("c")]));
  expect(asked.map(queuesOf)).toEqual([["b"], ["a", "c"]]);
});

test("a mail has a bound, in queues and in octets, and nothing is left out", async () => {
  const { asked, settlements } = setup(all);
  const entry = (n: number): string => n.toString(16).padStart(32, "0");
  const entriesOf = (count: number) => Array.from({ length: count }, (_, n) => entry(n));
  const put = ({ queue, ack }: { queue: string; ack: string[] }) =>
    settlements.settle({ queue, ack }, { canWait: false, isAgain: false });
  const small = Array.from({ length: 200 }, (_, n) => ({ queue: `q${n}`, ack: entriesOf(1) }));
  await done(Promise.all(small.map(put)));
  expect(asked.map((each) => queuesOf(each).length)).toEqual([128, 72]);
  asked.length = 0;
  const large = Array.from({ length: 5 }, (_, n) => ({ queue: `q${n}`, ack: entriesOf(700) }));
  await done(Promise.all(large.map(put)));
  for (const each of asked) expect(JSON.stringify(each).length).toBeLessThan(42_000);
  const settled = asked.flatMap((each): Settlement[] =>
    "settlements" in each ? [...each.settlements] : [each],
  );
  expect(settled).toEqual(large);
});
