import { beforeEach, describe, expect, test } from "vitest";
import type { MemberUuid } from "../shared/ids.js";
import { Retries } from "./retries.js";
import { mailboxOf, messageOf } from "./testing.js";

const ann = mailboxOf("ann");
const [first, second, third] = [messageOf(1), messageOf(2), messageOf(3)];
let nowMs = 0;
let retries: Retries;

beforeEach(() => {
  nowMs = 1_000;
  const limits = { entriesMax: 3, rememberedMs: 10_000, settledMs: 5_000 };
  retries = new Retries(() => nowMs, limits);
});

describe("a mail repeats an earlier one with its fingerprint", () => {
  test.each<[string, () => void, boolean]>([
    ["whose acknowledgement is outstanding", () => undefined, false],
    ["whose client went away", () => void retries.doubt(first.id), true],
    ["whose client has read the 250", () => retries.confirm(first.id), false],
    ["that was removed", () => retries.removed(first.id), false],
  ])("%s", (_, befall, isRepeated) => {
    retries.note(ann, first);
    befall();
    expect(retries.repeatedBy(second)).toEqual(isRepeated ? [first.id] : []);
  });

  test("but not a later one, nor itself, or two could end each other", () => {
    retries.note(ann, second, true);
    expect(retries.repeatedBy(first)).toEqual([]);
    expect(retries.repeatedBy(second)).toEqual([]);
  });

  test("but not one with another fingerprint", () => {
    retries.note(ann, first, true);
    expect(retries.repeatedBy(messageOf(2, { fingerprint: "g" }))).toEqual([]);
  });

  test("within a day", () => {
    retries.note(ann, first, true);
    nowMs += 10_001;
    expect(retries.repeatedBy(second)).toEqual([]);
  });
});

describe("a doubt", () => {
  test("that comes after the retry says that the mail was repeated", () => {
    retries.note(ann, first);
    retries.note(ann, second);
    expect(retries.doubt(first.id)).toMatchObject({ mailbox: ann });
    expect(retries.doubt(second.id)).toBeUndefined();
  });

  test("that comes after the retry was confirmed, too", () => {
    retries.note(ann, first);
    retries.note(ann, second);
    retries.confirm(second.id);
    expect(retries.doubt(first.id)).toBeDefined();
  });

  test("that comes before the mail is kept for it", () => {
    expect(retries.doubt(first.id)).toBeUndefined();
    retries.note(ann, first);
    expect(retries.stateOf(first.id)).toBe("doubtful");
    expect(retries.repeatedBy(second)).toEqual([first.id]);
  });

  test("is about all that a lost coordinator has not settled", () => {
    const other = messageOf(3, { coordinator: "u2" as MemberUuid });
    retries.note(ann, first);
    retries.note(ann, second);
    retries.note(ann, other);
    retries.confirm(second.id);
    expect(retries.coordinatorGone(first.coordinator)).toEqual([first.id]);
  });
});

test("no more is remembered than may be", () => {
  for (let n = 1; n <= 10; n += 1) retries.note(ann, messageOf(n), true);
  expect(retries.size).toBe(3);
  expect(retries.repeatedBy(messageOf(11))).toEqual([8, 9, 10].map((n) => messageOf(n).id));
  expect(retries.stateOf(third.id)).toBeUndefined();
});
