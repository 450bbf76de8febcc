import { join } from "node:path";
import { expect, test } from "vitest";
import { longestStall } from "../../tests/support/main-thread.js";
import { temporaryDirectory } from "./test-support.js";
import { nedbViews } from "./view-file.js";

test("many documents are added and removed without holding up others", async () => {
  const path = join(temporaryDirectory(), "view.db");
  const file = nedbViews.at(path);
  const documents = Array.from({ length: 20_000 }, (_, n) => ({ _id: `k${n}`, v: "x" }));
  const ids = documents.map(({ _id }) => _id);
  const adding = await longestStall(() => file.change(documents, []));
  const removing = await longestStall(() => file.change([], ids.slice(0, -3)));
  expect(Math.max(adding.stallMs, removing.stallMs)).toBeLessThan(250);
  expect(file.documents).toBe(3);
  const { documents: left } = await nedbViews.at(path).load();
  expect(left.map(({ _id }) => _id)).toEqual(ids.slice(-3));
});
