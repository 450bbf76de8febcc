import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MessageId } from "../shared/ids.js";
import { type Now, OutgoingSchedule, type WaitingMail } from "./outgoing-schedule.js";

const hourMs = 60 * 60_000;
const times = { firstRetryMs: 60_000, retryMsMax: hourMs, givenUpAfterMs: 48 * hourMs };

const mail = (n: number, to: string, receivedAtMs = 0, from = ""): WaitingMail => ({
  id: n.toString(16).padStart(32, "0") as MessageId,
  to,
  from,
  receivedAtMs,
});
const at = (ms: number): Now => ({ monotonicMs: ms, wallMs: ms });

function scheduleOf(...mails: readonly WaitingMail[]): OutgoingSchedule {
  const schedule = new OutgoingSchedule(times);
  schedule.update(mails);
  return schedule;
}

test("one mail of a recipient at a time, the oldest first, however the name is written", () => {
  const mails = [mail(1, "ann@x"), mail(2, "ANN@x"), mail(3, "bob@x")];
  const schedule = scheduleOf(...mails);
  expect(schedule.take(at(0))).toBe(mails[0]);
  expect(schedule.take(at(0))).toBe(mails[2]);
  expect(schedule.take(at(0))).toBeUndefined();
  schedule.settle(mail(1, "ann@x"), "taken", at(0));
  expect(schedule.take(at(0))).toBe(mails[1]);
});

test("an older mail that is seen only while a newer one is on its way waits for it, and neither is sent twice", () => {
  const [older, newer] = [mail(1, "ann@x"), mail(2, "ann@x")];
  const schedule = scheduleOf(newer);
  expect(schedule.take(at(0))).toBe(newer);
  schedule.update([older, newer]);
  expect(schedule.take(at(0))).toBeUndefined();
  expect(schedule.settle(newer, "taken", at(0))).toBe("done");
  expect(schedule.take(at(0))).toBe(older);
  expect(schedule.settle(older, "taken", at(0))).toBe("done");
  expect(schedule.isEmpty).toBe(true);
});

test("nobody's mail waits for that of another sender to the same recipient", () => {
  const mails = [mail(1, "ann@x", 0, "alice@r"), mail(2, "ann@x", 0, "bob@r")] as const;
  const schedule = scheduleOf(...mails);
  expect(schedule.take(at(0))).toBe(mails[0]);
  schedule.settle(mails[0], "later", at(0));
  expect(schedule.take(at(0))).toBe(mails[1]);
});

test("whether it is given up is known before; one that nobody could be told of is tried again", () => {
  const old = at(49 * hourMs);
  const one = mail(1, "ann@x");
  const schedule = scheduleOf(one);
  schedule.take(old);
  expect(schedule.isLast(one, "later", at(hourMs))).toBe(false);
  for (const outcome of ["later", "never"] as const)
    expect(schedule.isLast(one, outcome, old)).toBe(true);
  for (const outcome of ["away", "taken"] as const)
    expect(schedule.isLast(one, outcome, old)).toBe(false);
  expect(schedule.settle(one, "untold", old)).toBe("waits");
  expect(schedule.dueInMs(old)).toBe(60_000);
});

test("4yz: again after a minute, doubled up to an hour, given up at the first failure after two days", () => {
  const one = mail(1, "ann@x");
  const schedule = scheduleOf(one, mail(2, "ann@x"));
  const waitsMs: number[] = [];
  let ms = 0;
  for (;;) {
    expect(schedule.take(at(ms))).toBe(one);
    if (schedule.settle(one, "later", at(ms)) === "givenUp") break;
    const dueInMs = schedule.dueInMs(at(ms));
    expect(schedule.take(at(ms + dueInMs - 1))).toBeUndefined();
    waitsMs.push(dueInMs);
    ms += dueInMs;
  }
  const minutes = waitsMs.map((wait) => wait / 60_000);
  expect(minutes.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  expect(ms).toBeGreaterThan(48 * hourMs);
  expect(ms).toBeLessThanOrEqual(49 * hourMs);
  expect(schedule.take(at(ms))?.id).toBe(mail(2, "ann@x").id);
});

test("5yz: given up at once, and the next one's turn", () => {
  const schedule = scheduleOf(mail(1, "ann@x"), mail(2, "ann@x"));
  const first = schedule.take(at(0));
  expect(first && schedule.settle(first, "never", at(0))).toBe("givenUp");
  expect(schedule.take(at(0))?.id).toBe(mail(2, "ann@x").id);
});

describe("when the smart host itself fails", () => {
  test("all wait: a second, doubled up to the first retry, and it is no try of the mail", () => {
    const one = mail(1, "ann@x");
    const schedule = scheduleOf(one);
    const pauses: number[] = [];
    let ms = 0;
    for (let n = 0; n < 9; n += 1) {
      schedule.take(at(ms));
      // Long after it is too old: nobody said anything about it.
      const late = { monotonicMs: ms, wallMs: 100 * hourMs };
      expect(schedule.settle(one, "away", late)).toBe("waits");
      pauses.push(schedule.dueInMs(at(ms)) / 1_000);
      ms += schedule.dueInMs(at(ms));
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  test("several that were on their way make one pause", () => {
    const mails = [mail(1, "a@x"), mail(2, "b@x"), mail(3, "c@x")];
    const schedule = scheduleOf(...mails);
    expect(mails.map(() => schedule.take(at(0)))).toEqual(mails);
    for (const each of mails) schedule.settle(each, "away", at(0));
    expect(schedule.dueInMs(at(0))).toBe(1_000);
  });

  test("a mail over which it always fails does not hold up the others, and is given up one day", () => {
    const poison = mail(1, "poison@x");
    const schedule = scheduleOf(poison, mail(2, "ann@x"), mail(3, "bob@x"));
    const taken: string[] = [];
    let ms = 0;
    let verdict = "waits";
    for (let n = 0; n < 200 && verdict === "waits"; n += 1) {
      const next = schedule.take(at(ms));
      if (!next) ms += Math.max(1, schedule.dueInMs(at(ms)));
      else if (next === poison) verdict = schedule.settle(poison, "away", at(ms));
      else {
        taken.push(next.to);
        schedule.settle(next, "taken", at(ms));
        // There is always something else that is taken.
        schedule.update([poison, mail(n + 10, "ann@x", ms)]);
        ms += hourMs;
      }
    }
    expect(taken.slice(0, 2)).toEqual(["ann@x", "ann@x"]);
    expect(verdict).toBe("givenUp");
  });
});

test("whatever happens, each recipient's mails are settled in order and one at a time", () => {
  const outcome = fc.constantFrom("taken", "later", "never", "away", "update", "tick" as const);
  const property = fc.property(
    fc.array(fc.nat({ max: 3 }), { maxLength: 30 }),
    fc.array(fc.tuple(outcome, fc.nat({ max: 7 })), { maxLength: 200 }),
    (recipients, steps) => {
      let waiting = recipients.map((to, n) => mail(n + 1, `r${to}@x`));
      const schedule = scheduleOf(...waiting);
      const underWay: WaitingMail[] = [];
      let ms = 0;
      for (const [step, pick] of steps) {
        const next = schedule.take(at(ms));
        if (next) {
          expect(underWay.map(({ to }) => to)).not.toContain(next.to);
          expect(waiting.find(({ to }) => to === next.to)?.id).toBe(next.id);
          underWay.push(next);
        }
        if (step === "tick") ms += hourMs;
        else if (step === "update") schedule.update(waiting);
        else {
          const [one] = underWay.splice(pick % Math.max(1, underWay.length), 1);
          if (!one) continue;
          const verdict = schedule.settle(one, step, at(ms));
          if (verdict !== "waits") waiting = waiting.filter(({ id }) => id !== one.id);
        }
      }
      expect(schedule.isEmpty).toBe(waiting.length === 0);
    },
  );
  fc.assert(property, { numRuns: 300 });
});
