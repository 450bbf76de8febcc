import { beforeEach, describe, expect, test } from "vitest";
import type { MemberUuid, MessageId } from "../shared/ids.js";
import type { StoredMessage } from "../shared/operation.js";
import { consequencesOf, Retries, withoutRepeated } from "./retries.js";
import { mailboxOf, messageOf } from "./testing.js";

const ann = mailboxOf("ann");
const identified = { hasMessageId: true } as const;
const [first, second, third] = [1, 2, 3].map((n) => messageOf(n, identified)) as [
  StoredMessage,
  StoredMessage,
  StoredMessage,
];
const givenUp = (id: MessageId) => ({ id, removedAtMs: 9 });
const deleted = ({ id, fingerprint }: StoredMessage) => ({ id, removedAtMs: 9, fingerprint });
let nowMs = 0;
let retries: Retries;

beforeEach(() => {
  nowMs = 1_000;
  const limits = { entriesMax: 3, rememberedMs: 10_000, outstandingMs: 5_000 };
  retries = new Retries(() => nowMs, limits);
});

describe("a mail repeats an earlier one with its fingerprint", () => {
  test.each<[string, () => void, boolean]>([
    ["whose acknowledgement is outstanding", () => undefined, false],
    ["whose client went away", () => void retries.doubt(first.id), true],
    ["whose client has read the 250", () => retries.confirm(first.id), false],
    [
      "that was given up",
      () => {
        retries.doubt(first.id);
        retries.removed(givenUp(first.id));
      },
      false,
    ],
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

test("a mail is not outstanding when the news that its client has read is faster", () => {
  retries.confirm(first.id);
  retries.note(ann, first);
  expect(retries.coordinatorGone(first.coordinator)).toEqual([]);
  expect(retries.repeatedBy(second)).toEqual([]);
});

describe("a retry of a mail that its reader has deleted", () => {
  beforeEach(() => {
    retries.note(ann, first);
    retries.removed(deleted(first));
  });

  test("is deleted, too, when the client did not read its 250", () => {
    retries.doubt(first.id);
    expect(retries.wasDeleted(second)).toBe(true);
  });

  test.each<[string, () => void]>([
    ["the client has read the 250", () => retries.confirm(first.id)],
    ["that is not known", () => undefined],
    [
      "a try in between was acknowledged",
      () => {
        retries.doubt(first.id);
        retries.note(ann, second);
        retries.confirm(second.id);
      },
    ],
  ])("is a new mail when %s", (_, befall) => {
    befall();
    expect(retries.wasDeleted(third)).toBe(false);
  });

  test("is a new mail when there is no Message-ID to tell it from one that looks like it", () => {
    retries.doubt(first.id);
    expect(retries.wasDeleted(messageOf(2))).toBe(false);
  });
});

describe("a doubt", () => {
  const conclusions = (
    messages: readonly StoredMessage[],
    removed: readonly StoredMessage[] = [],
  ) => {
    const doubt = retries.doubt(first.id);
    const contents = { messages, tombstones: removed.map(deleted) };
    return doubt && consequencesOf(doubt, contents).map(({ id }) => id);
  };

  beforeEach(() => retries.note(ann, first));

  test("about the only try changes nothing", () => {
    expect(conclusions([first])).toEqual([]);
  });

  test("that comes after the retry ends the first try", () => {
    expect(conclusions([first, second])).toEqual([first.id]);
  });

  test("that comes after the retry was read and deleted ends it as well, however late", () => {
    expect(conclusions([first], [second])).toEqual([first.id]);
  });

  test("about a mail that its reader has deleted ends the retry", () => {
    retries.removed(deleted(first));
    expect(conclusions([second, messageOf(3)])).toEqual([second.id]);
  });

  test("about a mail that its retry replaced, and a session deleted all the same, ends the retry", () => {
    retries.removed(givenUp(first.id));
    expect(conclusions([second])).toEqual([]);
    retries.removed(deleted(first));
    expect(conclusions([second])).toEqual([second.id]);
  });

  test("that comes before the mail is kept for it", () => {
    expect(retries.doubt(second.id)).toBeUndefined();
    retries.note(ann, second);
    expect(retries.stateOf(second.id)).toBe("doubtful");
    expect(retries.repeatedBy(third)).toEqual([second.id]);
  });

  test("is about all that a lost coordinator has not settled", () => {
    const other = messageOf(3, { coordinator: "u2" as MemberUuid });
    retries.note(ann, second);
    retries.note(ann, other);
    retries.confirm(second.id);
    expect(retries.coordinatorGone(first.coordinator)).toEqual([first.id]);
  });

  test("is not about mails whose coordinator had time to tell: the news was lost", () => {
    nowMs += 5_001;
    expect(retries.coordinatorGone(first.coordinator)).toEqual([]);
    expect(retries.stateOf(first.id)).toBeUndefined();
  });
});

describe("a reader is shown", () => {
  const shown = (
    state: "outstanding" | "doubtful",
    messages: readonly StoredMessage[],
    removed: readonly StoredMessage[],
  ) => {
    const stateOf = (id: MessageId) => (id === first.id ? state : undefined);
    return withoutRepeated({ messages, tombstones: removed.map(deleted) }, stateOf);
  };

  test("a mail in doubt, but not beside its retry or after that was deleted", () => {
    expect(shown("doubtful", [first], [])).toEqual([first]);
    expect(shown("doubtful", [first, second], [])).toEqual([second]);
    expect(shown("doubtful", [first], [second])).toEqual([]);
  });

  test("two mails that are the same, also before it is known that the first client has read", () => {
    expect(shown("outstanding", [first, second], [])).toEqual([first, second]);
  });

  test("no retry of a mail that was deleted in doubt, but what only looks like one", () => {
    for (const state of ["outstanding", "doubtful"] as const) {
      expect(shown(state, [second, messageOf(3)], [first])).toEqual([messageOf(3)]);
    }
    expect(shown("doubtful", [first, third], [second])).toEqual([third]);
  });
});

test("what is shown of a mailbox full of mails in doubt is found without comparing each with each", () => {
  let reads = 0;
  const count = 5_000;
  const messages = Array.from({ length: count }, (_, n) => {
    const message = messageOf(n + 1, identified);
    // Two tries each of half as many mails.
    const fingerprint = `f${n % (count / 2)}`;
    const counted = {
      get() {
        reads += 1;
        return fingerprint;
      },
    };
    return Object.defineProperty(message, "fingerprint", counted);
  });
  const removed = deleted(messageOf(0, { fingerprint: "f7" }));
  const shown = withoutRepeated({ messages, tombstones: [removed] }, () => "doubtful");
  const expected = messages.slice(count / 2).filter((_, n) => n !== 7);
  expect(shown.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
  expect(reads).toBeLessThan(20 * count);
});

test("what comes late from a coordinator that is gone is in doubt, until it is heard again", () => {
  retries.coordinatorGone(first.coordinator);
  retries.note(ann, first);
  retries.coordinatorHeard(first.coordinator);
  retries.note(ann, second);
  expect([first, second].map(({ id }) => retries.stateOf(id))).toEqual(["doubtful", "outstanding"]);
});

test("no more is remembered than may be", () => {
  for (let n = 1; n <= 10; n += 1) retries.note(ann, messageOf(n), true);
  expect(retries.size).toBe(3);
  expect(retries.repeatedBy(messageOf(11))).toEqual([8, 9, 10].map((n) => messageOf(n).id));
  expect(retries.stateOf(third.id)).toBeUndefined();
});
