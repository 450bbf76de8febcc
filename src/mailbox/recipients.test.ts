import { beforeEach, describe, expect, test } from "vitest";
import type { MailboxName } from "../shared/ids.js";
import { box, createWorld, type World } from "./testing.js";

let world: World;

const make = async (options: Parameters<typeof createWorld>[0] = {}): Promise<void> => {
  world = createWorld(options);
  const { accounts, aliases, domains } = world.registry;
  await domains.add("second.test");
  for (const name of ["ann", "bob", "ann@second.test", "cyd"]) await accounts.add(name, "x");
  await accounts.update("cyd", (account) => ({ ...account, disabled: true }));
  await aliases.add("sales", ["ann", "bob"]);
  await aliases.add("all@second.test", ["sales", "ann@second.test"]);
};
beforeEach(() => make());

/** What is remembered holds for 5 s. */
function forgetAll(): void {
  world.nowMs += 5_001;
}

async function resolved(address: string, octets?: number): Promise<string> {
  const answer = await world.registry.recipients.resolve(address, octets);
  return answer.kind === "mailboxes" ? answer.mailboxes.join(" ") : answer.kind;
}

describe("a recipient", () => {
  test.each([
    ["ann@ring.test", "ann@ring.test"],
    ["Ann+tag@Ring.Test", "ann@ring.test"],
    ["ann@SECOND.test", "ann@second.test"],
    ["bob@second.test", "unknown"],
    ["nobody@ring.test", "unknown"],
    ["ann@example.org", "relay"],
    ["ann@[127.0.0.1]", "relay"],
    ["a b@ring.test", "invalid"],
    ['"a b"@example.org', "relay"],
    ["Ann+DATA@Ring.Test", "ann@ring.test/data"],
    ["ann+data+x@ring.test", "ann@ring.test"],
    ["sales+data@ring.test", "ann@ring.test/data bob@ring.test/data"],
    ["sales@ring.test", "ann@ring.test bob@ring.test"],
    ["Sales+x@ring.test", "ann@ring.test bob@ring.test"],
    ["all@second.test", "ann@second.test ann@ring.test bob@ring.test"],
    ["cyd@ring.test", "disabled"],
    ["postmaster", "unknown"],
    ["@ring.test", "invalid"],
  ])("%s is %s", async (address, expected) => {
    expect(await resolved(address)).toBe(expected);
  });

  test("is put off, not refused, while too few members tell", async () => {
    forgetAll();
    world.registers.silent.add("account:bob@ring.test").add("account:@ring.test");
    expect(await resolved("bob@ring.test")).toBe("undecided");
    expect(await resolved("sales@ring.test")).toBe("undecided");
    // Perhaps somebody gets all that is written to nobody.
    expect(await resolved("nobody@ring.test")).toBe("undecided");
    expect(await resolved("ann@ring.test")).toBe("ann@ring.test");
  });

  test("is put off while nobody can tell whether its domain is ours", async () => {
    forgetAll();
    world.registers.silent.add("domains:ring.test");
    expect(await resolved("ann@second.test")).toBe("undecided");
    expect(await resolved("ann@example.org")).toBe("undecided");
    expect(await resolved("ann@ring.test")).toBe("ann@ring.test");
  });

  test("of a domain that was removed is a stranger's", async () => {
    await world.registry.domains.remove("second.test");
    expect(await resolved("ann@second.test")).toBe("relay");
  });

  test("behind two aliases that were made at once and lead to each other is a loop", async () => {
    const alias = (target: string) => ({ nonce: "n", createdAtMs: 1, targets: [box(target)] });
    world.registers.values.set("account:x@ring.test", alias("y"));
    world.registers.values.set("account:y@ring.test", alias("x"));
    expect(await resolved("x@ring.test")).toBe("loop");
  });
});

describe("the ring itself", () => {
  test.each([
    ["ring@ring.test", "control"],
    ["RING@Second.test", "control"],
    ["Ring+Data@ring.test", "broker"],
    ["ring+data@second.test", "broker"],
  ])("%s is its %s, which no catch-all takes", async (address, part) => {
    await world.registry.aliases.add("@second.test", ["ann"]);
    await world.registry.aliases.add("@ring.test", ["ann"]);
    const answer = await world.registry.recipients.resolve(address);
    expect(answer).toEqual({ kind: "ring", part });
  });

  test.each(["ring+x@ring.test", "ring+@ring.test", "ring+data+x@second.test"])(
    "has no other address such as %s",
    async (address) => {
      expect(await resolved(address)).toBe("unknown");
    },
  );

  test("is nobody's name", async () => {
    const { accounts, aliases } = world.registry;
    expect(await accounts.add("ring@second.test", "x")).toMatchObject({ kind: "invalid" });
    expect(await aliases.add("ring", ["ann"])).toMatchObject({ kind: "invalid" });
  });
});

describe("a catch-all", () => {
  beforeEach(async () => {
    await world.registry.aliases.add("@second.test", ["sales"]);
  });

  test.each([
    ["nobody@second.test", "ann@ring.test bob@ring.test"],
    ["ann@second.test", "ann@second.test"],
    ["all@second.test", "ann@second.test ann@ring.test bob@ring.test"],
    ["nobody@ring.test", "unknown"],
  ])("%s goes to %s", async (address, expected) => {
    expect(await resolved(address)).toBe(expected);
  });

  test("does not get what an alias without living targets gets", async () => {
    await world.registry.aliases.add("gone@second.test", ["bob"]);
    await world.registry.accounts.remove("bob");
    expect(await resolved("gone@second.test")).toBe("unknown");
  });
});

describe("postmaster", () => {
  test("of every domain is the first domain's, unless it has its own", async () => {
    const { aliases } = world.registry;
    await aliases.add("postmaster", ["ann"]);
    expect(await resolved("Postmaster")).toBe("ann@ring.test");
    expect(await resolved("postmaster@second.test")).toBe("ann@ring.test");
    await aliases.add("postmaster@second.test", ["bob"]);
    expect(await resolved("postmaster@second.test")).toBe("bob@ring.test");
  });
});

describe("on trial", () => {
  beforeEach(() => make({ trial: true }));

  test.each([
    ["temperror@ring.test", "undecided"],
    ["permerror@second.test", "unknown"],
    ["timeout@ring.test", "trial/timeout"],
    ["other@ring.test", "unknown"],
  ])("%s is %s", async (address, expected) => {
    expect(await resolved(address)).toBe(expected);
  });

  test("an account or alias of the name comes first", async () => {
    await world.registry.accounts.add("timeout", "x");
    await world.registry.aliases.add("temperror", ["ann"]);
    expect(await resolved("timeout@ring.test")).toBe("timeout@ring.test");
    expect(await resolved("temperror@ring.test")).toBe("ann@ring.test");
  });

  test("is off unless it is asked for", async () => {
    await make();
    expect(await resolved("temperror@ring.test")).toBe("unknown");
    expect(await resolved("timeout@ring.test")).toBe("unknown");
  });
});

describe("a full mailbox", () => {
  beforeEach(async () => {
    await make({ quota: { octets: 1_000 } });
    world.usage.set(box("ann"), { octets: 1_000, messages: 1 });
    world.usage.set(box("bob"), { octets: 900, messages: 1 });
    world.usage.set(`${box("ann")}/data` as MailboxName, { octets: 0, messages: 0 });
  });

  test.each([
    ["ann@ring.test", undefined, "overQuota"],
    ["bob@ring.test", undefined, "bob@ring.test"],
    ["bob@ring.test", 100, "bob@ring.test"],
    ["bob@ring.test", 101, "overQuota"],
    ["sales@ring.test", undefined, "overQuota"],
    ["ann+data@ring.test", 1_000, "ann@ring.test/data"],
    ["ann+data@ring.test", 1_001, "overQuota"],
    ["ann@second.test", undefined, "undecided"],
  ])("%s with a mail of %s octets is %s", async (address, octets, expected) => {
    expect(await resolved(address, octets)).toBe(expected);
  });

  test("has room when its own quota says so", async () => {
    const { accounts } = world.registry;
    await accounts.update("ann", (account) => ({ ...account, quota: { messages: 2 } }));
    expect(await resolved("ann@ring.test")).toBe("ann@ring.test");
    await accounts.update("ann", (account) => ({ ...account, quota: { messages: 1 } }));
    expect(await resolved("ann@ring.test")).toBe("overQuota");
    await accounts.update("ann", (account) => ({ ...account, quota: {} }));
    expect(await resolved("ann@ring.test")).toBe("ann@ring.test");
  });
});
