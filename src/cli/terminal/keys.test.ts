import { expect, test } from "vitest";
import { inputOf } from "./terminal.js";

test.each([
  ["a letter", "a", { name: "a" }, { kind: "text", text: "a" }],
  ["a capital", "A", { name: "a", shift: true }, { kind: "text", text: "A" }],
  ["two columns", "日", {}, { kind: "text", text: "日" }],
  ["Enter", "\r", { name: "return" }, { kind: "key", key: "enter" }],
  ["Enter of a paste", "\n", { name: "enter" }, { kind: "key", key: "enter" }],
  ["^C", "\u0003", { name: "c", ctrl: true }, { kind: "key", key: "ctrl-c" }],
  ["Shift-Tab", undefined, { name: "tab", shift: true }, { kind: "key", key: "backtab" }],
  ["an arrow", undefined, { name: "up" }, { kind: "key", key: "up" }],
  ["Alt and a letter", "a", { name: "a", meta: true }, undefined],
  ["a function key", undefined, { name: "f5" }, undefined],
  ["a control character", "\u0000", {}, undefined],
])("%s", (_name, text, key, expected) => {
  expect(inputOf(text, key as Parameters<typeof inputOf>[1])).toEqual(expected);
});
