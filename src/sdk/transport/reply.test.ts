import { describe, expect, test } from "vitest";
import { isTemporary, replyOf, ringWord } from "./reply.js";

test.each([
  ["2.0.0 ebm=ok id=4f0c-77", { kind: "ok", id: "4f0c-77" }],
  ["2.0.0 ebm=taken n=17 routed=3 stored=2/3", { kind: "taken" }],
  ["2.0.0 ebm=kept there is no packet in it", { kind: "kept", why: "there is no packet in it" }],
  [
    "4.3.0 ebm=early main:4 other:12 send these first",
    { kind: "early", expected: { main: 4, other: 12 } },
  ],
  [
    "5.7.1 ebm=denied wrong user or password",
    { kind: "refused", code: "denied", why: "wrong user or password" },
  ],
  ["2.0.0 ebm=partly id=4f done=101", { kind: "partly", done: [true, false, true] }],
  ["2.0.0 ebm=partly id=4f", { kind: "partly", done: [] }],
  ["4.3.0 ebm=undecided", { kind: "refused", code: "undecided", why: "" }],
])("the ring says %s", (text, word) => {
  expect(ringWord({ code: 250, text })).toEqual(word);
});

test.each(["2.0.0 Ok: queued as 4WkV", "5.7.1 ebm=nonsense", "2.0.0 notebm=ok id=1", ""])(
  "somebody else's word is no word of the ring: %j",
  (text) => {
    expect(ringWord({ code: 250, text })).toBeUndefined();
  },
);

describe("replies", () => {
  test("of several lines are joined", () => {
    expect(replyOf("250-2.0.0 one\r\n250 two")).toEqual({ code: 250, text: "2.0.0 one two" });
  });
  test.each([
    [421, true],
    [452, true],
    [250, false],
    [550, false],
  ])("%i is temporary: %s", (code, temporary) => {
    expect(isTemporary({ code, text: "" })).toBe(temporary);
  });
});
