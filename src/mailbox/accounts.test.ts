import { beforeEach, describe, expect, test } from "vitest";
import type { Accounts } from "./accounts.js";
import { box, createWorld, scram, type World } from "./testing.js";

const ann = box("ann");
const register = `account:${ann}`;
let world: World;
let accounts: Accounts;

beforeEach(() => {
  world = createWorld();
  ({ accounts } = world.registry);
});

describe("an account", () => {
  test("is added once, changed, removed, and may be added again", async () => {
    expect(await accounts.changePassword("ann", "x")).toEqual({ kind: "unknown" });
    expect(await accounts.add("ann", "one")).toEqual({ kind: "done", mailbox: ann });
    expect(await accounts.add("ann", "two")).toEqual({ kind: "exists" });
    expect(await accounts.read(ann)).toMatchObject({ account: { passwordHash: "h:one" } });
    expect((await accounts.changePassword("ann@RING.test", "two")).kind).toBe("done");
    expect(await accounts.read(ann)).toMatchObject({ account: { passwordHash: "h:two" } });
    expect((await accounts.remove("ann")).kind).toBe("done");
    expect((await accounts.read(ann)).kind).toBe("unknown");
    expect(await accounts.remove("ann")).toEqual({ kind: "unknown" });
    expect((await accounts.add("ann", "three")).kind).toBe("done");
    expect(world.announced).toContain(register);
  });

  test("has what SCRAM needs, and its tokens end with a password", async () => {
    await accounts.add("ann", "one");
    const added = await accounts.read(ann);
    expect(added).toMatchObject({ account: { scram } });
    expect(added.kind === "account" && added.account.generation).toBeUndefined();
    await accounts.changePassword("ann", "two");
    await accounts.changePassword("ann", "two");
    expect(await accounts.read(ann)).toMatchObject({ account: { scram, generation: 2 } });
  });

  test("has another version after every change", async () => {
    await accounts.add("ann", "one");
    const before = await accounts.read(ann);
    await accounts.changePassword("ann", "one");
    const after = await accounts.read(ann);
    expect(before.kind === "account" && before.account.version).toBeTruthy();
    expect(after).not.toEqual(before);
  });

  test.each([
    ["without a password", "ann", ""],
    ["with a password without end", "ann", "x".repeat(1_025)],
    ["with a password that no client can send", "ann", "a\tb"],
    ["of another domain", "ann@example.org", "x"],
    ["with a name that is none", "a b", "x"],
  ])("is refused %s", async (_, name, password) => {
    expect((await accounts.add(name, password)).kind).toBe("invalid");
    expect(world.registers.values.size).toBe(0);
  });

  test("that others changed on top of an interrupted change is left to them", async () => {
    await accounts.add("ann", "one");
    world.registers.meanwhile = () => {
      world.registers.values.set(register, { nonce: "theirs", removed: true });
    };
    expect(await accounts.changePassword("ann", "two")).toEqual({ kind: "undecided" });
    expect(world.registers.values.get(register)).toEqual({ nonce: "theirs", removed: true });
  });

  test("is neither there nor away when too few answer", async () => {
    world.registers.silent.add("all");
    expect(await accounts.read(ann)).toEqual({ kind: "undecided" });
    expect(await accounts.add("ann", "x")).toEqual({ kind: "undecided" });
  });
});

describe("a name that is an alias", () => {
  test("is no account, and can't become one", async () => {
    await accounts.add("bob", "x");
    await world.registry.aliases.add("ann", ["bob"]);
    expect((await accounts.read(ann)).kind).toBe("unknown");
    expect(await accounts.add("ann", "x")).toEqual({ kind: "alias" });
    expect(await accounts.changePassword("ann", "x")).toEqual({ kind: "alias" });
    expect(await accounts.remove("ann")).toEqual({ kind: "alias" });
    expect(await world.registry.names.read(ann)).toMatchObject({ kind: "alias" });
  });

  test("and was an account before: its mail is cleared when it is one again", async () => {
    await accounts.add("ann", "x");
    await accounts.add("bob", "x");
    await accounts.remove("ann");
    await world.registry.aliases.add("ann", ["bob"]);
    await world.registry.aliases.remove("ann", []);
    expect(await accounts.read(ann)).toEqual({ kind: "unknown", former: true });
  });
});

describe("accounts of a further domain", () => {
  test("are their own, and only where the domain is served", async () => {
    const { domains } = world.registry;
    expect((await accounts.add("ann@second.test", "x")).kind).toBe("invalid");
    await domains.add("Second.TEST");
    const second = { kind: "done", mailbox: "ann@second.test" };
    expect(await accounts.add("Ann@SECOND.test", "two")).toEqual(second);
    expect((await accounts.read(ann)).kind).toBe("unknown");
    expect((await accounts.add("ann", "one")).kind).toBe("done");
    expect(await accounts.read(ann)).toMatchObject({ account: { passwordHash: "h:one" } });
    expect(await accounts.read(box("ann@second.test"))).toMatchObject({
      account: { passwordHash: "h:two" },
    });
  });

  test("wait while nobody can say whether it is served", async () => {
    world.registers.silent.add("domains:ring.test");
    expect((await accounts.add("ann@second.test", "x")).kind).toBe("undecided");
    expect((await accounts.add("ann", "x")).kind).toBe("done");
  });
});
