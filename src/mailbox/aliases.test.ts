import { beforeEach, describe, expect, test } from "vitest";
import { type Aliases, aliasTargetsMax } from "./aliases.js";
import { box, createWorld, type World } from "./testing.js";

let world: World;
let aliases: Aliases;

beforeEach(async () => {
  world = createWorld();
  ({ aliases } = world.registry);
  for (const name of ["ann", "bob"]) await world.registry.accounts.add(name, "x");
});

const targets = async (alias: string): Promise<readonly string[] | string> => {
  const answer = await world.registry.names.read(box(alias));
  return answer.kind === "alias" ? answer.fields.targets : answer.kind;
};

describe("an alias", () => {
  test("gets targets, gets more, loses them, and goes", async () => {
    expect(await aliases.add("Sales", ["ann"])).toEqual({
      kind: "done",
      alias: "sales@ring.test",
      targets: [box("ann")],
    });
    await aliases.add("sales", ["bob@RING.test", "ann"]);
    expect(await targets("sales")).toEqual([box("ann"), box("bob")]);
    expect(await aliases.remove("sales", ["ann"])).toMatchObject({ targets: [box("bob")] });
    expect((await aliases.remove("sales", ["bob"])).kind).toBe("invalid");
    expect(await aliases.remove("sales", [])).toMatchObject({ kind: "done", targets: [] });
    expect(await targets("sales")).toBe("unknown");
    expect(await aliases.remove("sales", [])).toEqual({ kind: "unknown" });
  });

  test.each([
    ["without a target", "sales", []],
    ["to nobody", "sales", ["nobody"]],
    ["to a stranger", "sales", ["someone@example.org"]],
    ["to an empty address", "sales", [""]],
    ["to a subaddress", "sales", ["ann+x"]],
    ["to itself", "sales", ["sales"]],
    ["with a name that nobody may have", "ring", ["ann"]],
    ["with a name that looks like another", "\u0430nn", ["ann"]],
    ["in a foreign domain", "sales@example.org", ["ann"]],
    ["for all of a foreign domain", "@example.org", ["ann"]],
    ["for all of no domain", "@", ["ann"]],
    ["to too many", "sales", Array.from({ length: aliasTargetsMax + 1 }, () => "ann")],
  ])("%s is refused", async (_, alias, given) => {
    const before = world.registers.values.size;
    expect((await aliases.add(alias, given)).kind).toBe("invalid");
    expect(world.registers.values.size).toBe(before);
  });

  test("can't have an account's name", async () => {
    expect(await aliases.add("ann", ["bob"])).toEqual({ kind: "account" });
    expect(await aliases.remove("ann", [])).toEqual({ kind: "account" });
    expect(await targets("ann")).toBe("account");
  });

  test("that would lead back to itself is refused", async () => {
    await aliases.add("one", ["ann"]);
    await aliases.add("two", ["one"]);
    await aliases.add("three", ["two", "bob"]);
    expect((await aliases.add("one", ["three"])).kind).toBe("invalid");
    expect(await targets("one")).toEqual([box("ann")]);
  });

  test("is left as it is while too few members tell of its targets", async () => {
    world.registers.silent.add("account:bob@ring.test");
    expect(await aliases.add("sales", ["ann", "bob"])).toEqual({ kind: "undecided" });
    expect(await targets("sales")).toBe("unknown");
  });
});
