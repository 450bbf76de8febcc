import { expect, test } from "vitest";
import type { Violation } from "./book.js";
import { faultKinds } from "./faults.js";
import { type DrillReport, type FaultRecord, percentile, reportText } from "./report.js";

const many = 1_234_567;
const mails = {
  ...{ offered: many, acknowledged: many, refused: many, unanswered: many },
  ...{ sessions: many, fetched: many, deleted: many },
};
const none = { lost: 0, doubled: 0, resurrected: 0, corrupt: 0, refused: 0 };
const faults = faultKinds.map(
  (kind): FaultRecord => ({
    ...{ kind, what: kind, atMs: 1_000 },
    ...{ loginMs: 59_990, acceptedMs: 10, oneRingMs: 59_999 },
  }),
);

const good: DrillReport = {
  ...{ ok: true, seed: 999_999, members: 15, replicas: 2, faultSeconds: 86_400, startedAtMs: 1 },
  ...{ mails, wrong: none, violations: [], problems: [], faults, equalMs: 59_990 },
  checked: { members: 15, mailboxes: 7, mails: many },
};

const lost: Violation = {
  wrong: "lost",
  mailbox: "kept-1",
  messageId: "<7.1@load.test>",
  detail: "it was acknowledged and is not there",
  history: ["1.000 s: sent through member 1"],
};

test("a report fits 80 columns, whatever its figures", () => {
  for (const line of reportText(good)) expect(line.length, line).toBeLessThanOrEqual(80);
});

test("all is well is said only when it is", () => {
  expect(reportText(good).at(-1)).toBe("OK: every promise was kept.");
  const problem = reportText({ ...good, ok: false, problems: ["the ring did not heal"] });
  expect(problem).toContain("FAILED: 1 problem.");
  expect(problem).toContain("! the ring did not heal");
});

test("a broken promise is told with its history and where the logs are", () => {
  const wrong = { ...none, lost: 1 };
  const lines = reportText({ ...good, ok: false, wrong, violations: [lost], kept: "/tmp/x" });
  expect(lines).toContain("FAILED: 1 lost.");
  expect(lines).toContain("! lost: <7.1@load.test> in kept-1");
  expect(lines).toContain("    1.000 s: sent through member 1");
  expect(lines.at(-1)).toContain("/tmp/x");
});

test("without equal copies nothing is said of equal mails", () => {
  const { equalMs: _, ...rest } = good;
  const lines = reportText({ ...rest, ok: false, problems: ["copies differ"] });
  expect(lines.join("\n")).not.toContain("same UIDLs");
});

test("percentiles are values that were measured, by nearest rank", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect(percentile(hundred, 50)).toBe(50);
  expect(percentile(hundred, 99)).toBe(99);
  expect(percentile(hundred, 100)).toBe(100);
  expect(percentile([3], 50)).toBe(3);
  expect(percentile([], 50)).toBeUndefined();
});
