import fc from "fast-check";
import { expect, test } from "vitest";
import { evenId, planUp } from "./up-plan.js";
import { readyText } from "./up-text.js";

const options = {
  ...{ nodes: "3", data: "data/up", port: "5000", bits: "160" },
  ...{ replicas: "2", domain: "ring.test" },
};

test("three members as the README shows them", () => {
  const { members } = planUp(options);
  expect(members.map(({ ports }) => ports)).toEqual([
    { ring: 5000, smtp: 5025, pop3: 5110, pop3s: 5995 },
    { ring: 5001, smtp: 5026, pop3: 5111, pop3s: 5996 },
    { ring: 5002, smtp: 5027, pop3: 5112, pop3s: 5997 },
  ]);
  expect(members[1]).toMatchObject({
    addr: "127.0.0.1:5001",
    dataDir: "data/up/node-2",
    logFile: "data/up/node-2.log",
  });
});

test("no two listeners of any ring share a port", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 25 }), fc.integer({ min: 1, max: 64_516 }), (n, port) => {
      const { members } = planUp({ ...options, nodes: String(n), port: String(port) });
      const ports = members.flatMap(({ ports }) => Object.values(ports));
      expect(new Set(ports).size).toBe(4 * n);
      expect(Math.max(...ports)).toBeLessThanOrEqual(65_535);
    }),
    { seed: 3 },
  );
});

test("ids are different, on the circle, and stay when the ring grows", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7].map((index) => evenId(index, 3))).toEqual([
    0n,
    4n,
    2n,
    6n,
    1n,
    5n,
    3n,
    7n,
  ]);
  expect(evenId(1, 160)).toBe(1n << 159n);
});

test("the printed commands send through one member and fetch through another", () => {
  const member = (n: number) => ({
    id: String(n),
    addr: `h:500${n}`,
    smtp: `h:502${n}`,
    pop3: `h:511${n}`,
  });
  const text = readyText({
    domain: "ring.test",
    dataDir: "data/up",
    members: [member(0), member(1)],
    accounts: [
      { name: "alice", password: "pw-a" },
      { name: "bob", password: "pw-b" },
    ],
  }).join("\n");
  expect(text).toContain("curl -sS smtp://h:5020 --mail-from alice@ring.test");
  expect(text).toContain("curl -sS pop3://h:5111/1 --user bob:pw-b");
  expect(text).toContain("swaks --server h --port 5020 --from alice@ring.test --to bob@ring.test");
});
