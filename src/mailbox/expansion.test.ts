import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MailboxName } from "../shared/ids.js";
import { aliasDepthMax, aliasNamesMax, expand, type Look } from "./expansion.js";
import type { NameFacts } from "./names.js";

type Entry = "account" | "disabled" | "undecided" | readonly string[];

const lookIn =
  (names: Readonly<Record<string, Entry>>, asked?: string[]): Look =>
  (name) => {
    asked?.push(name);
    const entry = Object.hasOwn(names, name) ? names[name] : undefined;
    if (entry === undefined) return Promise.resolve({ kind: "unknown" });
    if (entry === "undecided") return Promise.resolve({ kind: "undecided" });
    if (typeof entry !== "string") return Promise.resolve(aliasTo(entry));
    return Promise.resolve({ kind: "account", disabled: entry === "disabled", quota: undefined });
  };
const aliasTo = (targets: readonly string[]): NameFacts => ({
  kind: "alias",
  targets: targets as MailboxName[],
});

async function leadsTo(names: Readonly<Record<string, Entry>>, start = "a"): Promise<string> {
  const found = await expand(start as MailboxName, lookIn(names));
  return found.kind === "accounts" ? [...found.accounts.keys()].sort().join(" ") : found.kind;
}

describe("a name leads to", () => {
  test.each<[string, Record<string, Entry>, string]>([
    ["its account", { a: "account" }, "a"],
    ["nobody", {}, "unknown"],
    ["nobody when disabled", { a: "disabled" }, "disabled"],
    ["all targets of an alias", { a: ["b", "c"], b: "account", c: "account" }, "b c"],
    ["each once", { a: ["b", "c", "d"], b: ["d"], c: ["d"], d: "account" }, "d"],
    ["those that are left", { a: ["b", "gone", "c"], b: "account", c: "disabled" }, "b"],
    ["nobody when none is left", { a: ["gone"] }, "nowhere"],
    ["nobody when the last one is disabled", { a: ["gone", "b"], b: "disabled" }, "disabled"],
    ["itself", { a: ["a"] }, "loop"],
    ["itself and others", { a: ["b", "c"], b: ["a"], c: "account" }, "loop"],
    ["a loop that it is no part of", { a: ["b"], b: ["c", "d"], c: ["b"], d: "account" }, "loop"],
    ["one of whom nobody can tell", { a: ["b", "c"], b: "account", c: "undecided" }, "undecided"],
  ])("%s", async (_, names, expected) => {
    expect(await leadsTo(names)).toBe(expected);
  });

  test("what is not too far", async () => {
    const chain = (length: number): Record<string, Entry> => ({
      ...Object.fromEntries(Array.from({ length }, (_, n) => [`n${n}`, [`n${n + 1}`]])),
      [`n${length}`]: "account",
    });
    expect(await leadsTo(chain(aliasDepthMax), "n0")).toBe(`n${aliasDepthMax}`);
    expect(await leadsTo(chain(aliasDepthMax + 1), "n0")).toBe("loop");
  });

  test("what is not too many", async () => {
    const targets = Array.from({ length: aliasNamesMax }, (_, n) => `t${n}`);
    const accounts = Object.fromEntries(targets.map((target) => [target, "account" as const]));
    expect(await leadsTo({ ...accounts, a: targets })).toBe("loop");
    const some = targets.slice(1);
    expect((await leadsTo({ ...accounts, a: some })).split(" ")).toHaveLength(some.length);
  });
});

test("whatever the aliases are: it ends, asks for each name once, and finds all or says loop", async () => {
  const name = fc.integer({ min: 0, max: 9 }).map((n) => `n${n}`);
  const entry: fc.Arbitrary<Entry> = fc.oneof(
    fc.constant("account" as const),
    fc.uniqueArray(name, { minLength: 1, maxLength: 4 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, entry, { maxKeys: 10 }), name, async (names, start) => {
      const asked: string[] = [];
      const found = await expand(start as MailboxName, lookIn(names, asked));
      expect(new Set(asked).size).toBe(asked.length);
      // Every way from `start`, followed the slow way.
      const reached = new Set<string>();
      let loops = false;
      const walk = (at: string, way: readonly string[]): void => {
        if (way.includes(at)) {
          loops = true;
          return;
        }
        const here = Object.hasOwn(names, at) ? names[at] : undefined;
        if (here === "account") reached.add(at);
        if (Array.isArray(here)) for (const next of here as string[]) walk(next, [...way, at]);
      };
      walk(start, []);
      expect(found.kind === "loop").toBe(loops);
      if (found.kind === "accounts") expect(new Set(found.accounts.keys())).toEqual(reached);
      else if (!loops) expect(reached.size).toBe(0);
    }),
    { numRuns: 2_000 },
  );
});
