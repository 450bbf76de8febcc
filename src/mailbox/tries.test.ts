import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { Groups } from "../replication/group.js";
import { ManualClock, settle } from "../replication/testing.js";
import { type TryBounds, TryTable } from "../replication/try-table.js";
import { clientNetwork } from "./client-network.js";
import { Tries } from "./tries.js";

const limits = { perAccount: 10, perAddress: 20, windowMs: 300_000 };
const random = { bytes: (n: number) => randomBytes(n) };
const ann = "ann@ring.test";

let clock: ManualClock;
let tables: TryTable[];
/** Members that do not answer. */
let silent: Set<number>;
/** Holds back what goes to a member. */
let onTheWay: (member: number) => Promise<unknown>;

type Request = TryBounds & { key: string; id: string };

/** A group of three: what is asked of all is answered when a majority has answered. */
const groups = {
  ask: (_: string, method: string, request: Request) =>
    new Promise((resolve) => {
      const answers = new Map<number, unknown>();
      const ended = [0, 1, 2].map(async (member) => {
        await onTheWay(member);
        const table = tables[member];
        if (!table || silent.has(member)) return;
        const { key, id } = request;
        if (method === "releaseTry") table.release(key, id);
        else answers.set(member, { kind: "tries", tries: table.note(key, id, request) });
        if (answers.size === 2) resolve({ quorum: true, answers: new Map(answers) });
      });
      void Promise.all(ended).then(() => resolve({ quorum: false, answers }));
    }),
} as unknown as Groups;

const atNode = (more: Partial<typeof limits> = {}) =>
  new Tries({ groups, random, limits: { ...limits, ...more } });

beforeEach(() => {
  clock = new ManualClock();
  tables = [0, 1, 2].map(() => new TryTable(clock));
  silent = new Set();
  onTheWay = () => Promise.resolve();
});

const kinds = async (tries: Tries, times: number): Promise<string[]> => {
  const found: string[] = [];
  for (let n = 0; n < times; n += 1) found.push((await tries.reserve(ann)).kind);
  return found;
};

describe("tries of an account", () => {
  test("are ten, through however many nodes, and ten again when the window is over", async () => {
    const nodes = [atNode(), atNode(), atNode()];
    const found: string[] = [];
    for (let n = 0; n < 30; n += 1) found.push((await nodes[n % 3]?.reserve(ann))?.kind ?? "");
    expect(found.filter((kind) => kind === "reserved")).toHaveLength(10);
    expect(found.slice(10).every((kind) => kind === "refused")).toBe(true);
    expect((await atNode().reserve("bob@ring.test")).kind).toBe("reserved");
    await clock.advance(limits.windowMs);
    expect((await kinds(atNode(), 30)).filter((kind) => kind === "reserved")).toHaveLength(10);
  });

  test("that were refused do not count: the window goes on, whoever hammers", async () => {
    await kinds(atNode(), 10);
    await clock.advance(limits.windowMs - 1_000);
    const refused = await atNode().reserve(ann);
    expect(refused).toEqual({ kind: "refused", retryAfterMs: 1_000 });
    await kinds(atNode(), 50);
    await clock.advance(1_000);
    expect((await atNode().reserve(ann)).kind).toBe("reserved");
  });

  test("that take the last place from each other give it back", async () => {
    await kinds(atNode(), 9);
    silent.add(2);
    // One is first at one member, the other at the other.
    let messages = 0;
    onTheWay = async () => {
      messages += 1;
      if (messages === 2 || messages === 4) await settle();
    };
    const asked = await Promise.all([atNode().reserve(ann), atNode().reserve(ann)]);
    expect(asked.some(({ kind }) => kind === "refused")).toBe(true);
    for (const each of asked) if (each.kind === "reserved") each.release();
    await settle();
    for (const table of tables) {
      expect(table.note(ann, "question", { windowMs: 1_000, max: 0 })).toHaveLength(9);
    }
    expect((await atNode().reserve(ann)).kind).toBe("reserved");
  });

  test("that were right do not count", async () => {
    for (let n = 0; n < 30; n += 1) {
      const reserved = await atNode().reserve(ann);
      if (reserved.kind !== "reserved") throw new Error(reserved.kind);
      expect(reserved.count).toBe(1);
      reserved.release();
      await settle();
    }
  });

  test("are known while one member is silent, and not decided without a majority", async () => {
    silent.add(2);
    expect((await kinds(atNode(), 12)).filter((kind) => kind === "reserved")).toHaveLength(10);
    silent = new Set([0]);
    expect((await atNode().reserve(ann)).kind).toBe("refused");
    silent = new Set([0, 2]);
    expect((await atNode().reserve(ann)).kind).toBe("undecided");
  });

  test("are never more than the bound, in whatever order messages arrive", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.integer({ min: 1, max: 3 }), async (s, perAccount) => {
        tables = [0, 1, 2].map(() => new TryTable(clock));
        onTheWay = () => s.schedule(Promise.resolve());
        const asked = Array.from({ length: 6 }, () => atNode({ perAccount }).reserve(ann));
        await s.waitFor(Promise.all(asked));
        const found = await Promise.all(asked);
        const reserved = found.filter(({ kind }) => kind === "reserved");
        expect(reserved.length).toBeLessThanOrEqual(perAccount);
      }),
      { numRuns: 500 },
    );
  });

  test("are answered later and later", () => {
    const tries = atNode();
    const delays = Array.from({ length: 10 }, (_, n) => tries.delayMs(n + 1));
    expect(delays).toEqual([0, 0, 250, 500, 1_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
    expect(atNode({ perAccount: 1_000 }).delayMs(200)).toBe(0);
  });
});

describe("tries from an address", () => {
  test("count when they were wrong, and beyond the bound it has to wait", async () => {
    const tries = atNode();
    for (let n = 0; n < 50; n += 1) expect(await tries.waitOf("192.0.2.1")).toBe(0);
    for (let n = 0; n < limits.perAddress; n += 1) tries.noteWrong("192.0.2.1");
    await settle();
    await clock.advance(1_000);
    expect(await atNode().waitOf("192.0.2.1")).toBe(limits.windowMs - 1_000);
    expect(await atNode().waitOf("192.0.2.2")).toBe(0);
    await clock.advance(limits.windowMs);
    expect(await atNode().waitOf("192.0.2.1")).toBe(0);
  });

  test("are held against nobody when no majority knows", async () => {
    const tries = atNode();
    for (let n = 0; n < limits.perAddress; n += 1) tries.noteWrong("192.0.2.1");
    await settle();
    silent = new Set([0, 2]);
    expect(await tries.waitOf("192.0.2.1")).toBe(0);
  });

  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::1", "0:0:0:0::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:DB8:0:0:ffff::2", "2001:db8:0:0::/64"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["2001:db8:1::5.6.7.8", "2001:db8:1:0::/64"],
    ["nonsense", "nonsense"],
  ])("%s is a client of %s", (address, network) => {
    expect(clientNetwork(address)).toBe(network);
  });
});
