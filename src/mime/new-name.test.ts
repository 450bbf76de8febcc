import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { validateAccountName } from "./address.js";
import { validateNewName } from "./new-name.js";

describe("a new name", () => {
  test.each([
    ["alice", "alice"],
    ["Alice.B-c_9", "alice.b-c_9"],
    ["jose\u0301", "jos\u00e9"],
    ["søren", "søren"],
    ["lærke", "lærke"],
    ["maría-1", "maría-1"],
    ["иван", "иван"],
    ["νίκος", "νίκος"],
    ["אברהם", "אברהם"],
    ["דוד.1", "דוד.1"],
    ["محمد", "محمد"],
    ["علی۱۲", "علی۱۲"],
    ["अनिल", "अनिल"],
    ["山田", "山田"],
    ["山田taro", "山田taro"],
    ["東京タワー", "東京タワー"],
    ["김철수", "김철수"],
    ["postmaster", "postmaster"],
    ["123", "123"],
    ["temperror", "temperror"],
  ])("%s is good", (name, local) => {
    expect(validateNewName(name)).toEqual({ kind: "ok", local });
  });

  test.each([
    ["the control address", "ring"],
    ["the control address in capitals", "RING"],
    ["a folder", "alice/outbox"],
    ["a Cyrillic а in a Latin name", "\u0430lice"],
    ["a Greek ο in a Latin name", "b\u03BFb"],
    ["Cyrillic and Greek", "иванω"],
    ["Latin and Hebrew", "davidדוד"],
    ["Latin and Hangul with Kana", "abc김か"],
    ["a Cyrillic name that looks Latin", "\u0455\u0441\u043E\u0440\u0435"],
    ["a Greek name that looks Latin", "\u03BD\u03B9\u03C1"],
    ["an Armenian name that looks Latin", "\u0570\u0578"],
    ["a Latin name of look-alikes", "\u0251li\u0261e"],
    ["a dotless i among ASCII letters", "al\u0131"],
    ["digits in front of Hebrew (RFC 5893 rule 1)", "1דוד"],
    ["Hebrew that ends in a dash (rule 3)", "דוד-"],
    ["Arabic-Indic and extended digits (rule 4)", "ب\u0660\u06F0"],
    ["Arabic-Indic and ASCII digits (rule 4)", "ب\u06601"],
    ["Arabic-Indic digits alone (rule 1)", "\u0661\u0662"],
    ["a script that is not in use", "\u{10400}\u{10401}"],
    ["Cherokee, which looks Latin", "\u13A0\u13A1"],
    ["a tatweel", "مح\u0640مد"],
    ["an enclosing circle", "a\u20DD"],
    ["a direction override", "a\u202Eb"],
    ["a zero-width joiner", "a\u200Db"],
    ["a heap of accents", "o\u0316\u0317\u0318\u0319"],
    ["an accent twice", "q\u0301\u0301"],
    ["an unassigned character", "a\u0378"],
    ["a full-width letter", "ａlice"],
    ["a mathematical letter", "\u{1D41A}lice"],
    ["a private character", "a\uE000"],
    ["half a surrogate pair", "a\uD800"],
    ["NUL", "a\0b"],
  ])("%s is refused in one line", (_, name) => {
    expect(validateNewName(name)).toMatchObject({
      kind: "invalid",
      why: expect.stringMatching(/^[^\r\n]{5,80}$/),
    });
  });

  test("is the same name when it is given again, and one that can log in", () => {
    const letters = fc.constantFrom(..."aBzé\u0301İıσΣςбвДשדاب٣۳3._-かカ山김".split(""), "e\u0301");
    const names = fc.oneof(
      fc.string({ unit: letters, maxLength: 8 }),
      fc.string({ unit: "grapheme", maxLength: 8 }),
    );
    fc.assert(
      fc.property(names, (name) => {
        const once = validateNewName(name);
        if (once.kind === "invalid") return;
        expect(validateNewName(once.local)).toEqual(once);
        expect(validateAccountName(name)).toEqual(once);
        expect(validateNewName(name.normalize("NFD"))).toEqual(once);
      }),
      { numRuns: 5_000 },
    );
  });
});
