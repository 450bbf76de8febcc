import { expect, test } from "vitest";
import { drawRing, pointsMax } from "./ring-picture.js";
import { shortId } from "./table.js";

test("id 0 is at the top, ids grow clockwise, a silent member is hollow", () => {
  const points = ["0", "2", "4", "6"].map((id) => ({ id, alive: id !== "2" }));
  const lines = drawRing(points, 3) ?? [];
  const [top, middle, bottom] = [lines[0], lines[5], lines[10]];
  expect(top).toMatch(/● 0/);
  expect(middle).toMatch(/6 ●\s+○ 2/);
  expect(bottom).toMatch(/● 4/);
});

test("every member is seen, however many ids there are", () => {
  const points = Array.from({ length: pointsMax }, (_, index) => ({
    id: String((BigInt(index) << 160n) / BigInt(pointsMax)),
    alive: true,
  }));
  const text = (drawRing(points, 160) ?? []).join("");
  expect(text.split("●")).toHaveLength(pointsMax + 1);
});

test("more than fit are not drawn", () => {
  const points = Array.from({ length: pointsMax + 1 }, (_, id) => ({
    id: String(id),
    alive: true,
  }));
  expect(drawRing(points, 8)).toBeUndefined();
  expect(drawRing([], 8)).toBeUndefined();
});

test.each([
  ["5", 3, "5"],
  ["4294967295", 32, "4294967295"],
  ["5", 160, "0x00000000…"],
  [String(0xdeadbeefn << 128n), 160, "0xdeadbeef…"],
])("id %s of %i bits is shown as %s", (id, bits, shown) => {
  expect(shortId(id, bits)).toBe(shown);
});
