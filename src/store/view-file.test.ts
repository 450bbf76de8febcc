import { join } from "node:path";
import { expect, test } from "vitest";
import { longestStall } from "../../tests/support/main-thread.js";
import { temporaryDirectory } from "./test-support.js";
import { nedbViews } from "./view-file.js";

test("many documents are added, removed and written again without holding up others", async () => {
  const path = join(temporaryDirectory(), "view.db");
  const file = nedbViews.at(path);
  const documents = Array.from({ length: 40_000 }, (_, n) => ({
    _id: `k${n}`,
    v: "x".repeat(400),
  }));
  const ids = documents.map(({ _id }) => _id);
  const shares: number[] = [];
  const measured = async (work: () => Promise<void>) => {
    const { stallMs, busyMs } = await longestStall(work);
    shares.push(stallMs / busyMs);
  };
  await measured(() => file.change(documents, []));
  await measured(() => file.change([], ids.slice(0, 15_000)));
  const left = ids.slice(15_000);
  // Most lines are void now, and the rest is rewritten.
  await file.change([], left.splice(0, 5_000));
  await measured(() => file.tidy());
  for (const share of shares) expect(share, shares.join()).toBeLessThan(0.3);
  expect(file.documents).toBe(left.length);
  await file.sync();
  const { documents: kept, damaged, soundOctets } = await nedbViews.at(path).load();
  expect(damaged).toBe(false);
  expect(kept.map(({ _id }) => _id).sort()).toEqual(left.sort());
  expect(soundOctets).toBe(await nedbViews.sync(path));
});
