import { beforeEach, describe, expect, test } from "vitest";
import { LockTable } from "./locks.js";
import { mailboxOf, memberOf } from "./testing.js";

const ann = mailboxOf("ann");
const [self, front, other] = [memberOf(1).uuid, memberOf(2).uuid, memberOf(3).uuid];
const lease = (session: string, owner = front, boot = "b1") => ({ session, owner, boot });
let nowMs = 0;
let locks: LockTable;

beforeEach(() => {
  nowMs = 0;
  locks = new LockTable(self, 1_500, () => nowMs);
});

test("one session holds a mailbox, and may ask again", () => {
  expect(locks.acquire(ann, lease("s1")).kind).toBe("granted");
  expect(locks.acquire(ann, lease("s2"))).toMatchObject({ kind: "held", lease: { session: "s1" } });
  expect(locks.acquire(ann, lease("s1")).kind).toBe("granted");
  expect(locks.acquire(mailboxOf("bob"), lease("s2")).kind).toBe("granted");
  expect([locks.holds(ann, "s1"), locks.holds(ann, "s2")]).toEqual([true, false]);
});

test("only the holder releases", () => {
  locks.acquire(ann, lease("s1"));
  locks.release(ann, "s2");
  expect(locks.holds(ann, "s1")).toBe(true);
  locks.release(ann, "s1");
  expect(locks.acquire(ann, lease("s2")).kind).toBe("granted");
});

describe("a lease ends", () => {
  test.each<[string, number, () => void, boolean]>([
    ["at its last moment, not yet", 1_500, () => undefined, true],
    ["when its front node was not heard for too long", 1_501, () => undefined, false],
    ["not when it is heard in time", 1_501, () => void locks.hear(front, "b1"), true],
    ["when its front node was restarted", 10, () => void locks.hear(front, "b2"), false],
    ["not when another node was", 10, () => void locks.hear(other, "b2"), true],
  ])("%s", (_, afterMs, befall: () => void, isHeld) => {
    locks.acquire(ann, lease("s1"));
    nowMs += 1_000 * Math.min(1, afterMs);
    if (afterMs > 1_000) befall();
    nowMs += afterMs - Math.min(afterMs, 1_000);
    if (afterMs <= 1_000) befall();
    expect(locks.holds(ann, "s1")).toBe(isHeld);
  });

  test("for good: the front node's return does not bring it back", () => {
    locks.acquire(ann, lease("s1"));
    nowMs += 1_501;
    expect(locks.holds(ann, "s1")).toBe(false);
    locks.hear(front, "b1");
    expect(locks.holds(ann, "s1")).toBe(false);
    expect(locks.acquire(ann, lease("s2", other)).kind).toBe("granted");
  });

  test("never by silence for the sessions of this node itself", () => {
    locks.acquire(ann, lease("s1", self));
    nowMs += 1_000_000;
    expect(locks.holds(ann, "s1")).toBe(true);
  });
});
