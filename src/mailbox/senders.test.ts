import { beforeEach, expect, test } from "vitest";
import type { Identity } from "./authentication.js";
import { box, createWorld, type World } from "./testing.js";

let world: World;
const ann: Identity = { mailbox: box("josé"), folder: "inbox" };

beforeEach(async () => {
  world = createWorld();
  const { accounts, aliases, domains } = world.registry;
  await domains.add("bücher.example");
  for (const name of ["josé", "bob", "josé@bücher.example"]) await accounts.add(name, "x");
  await aliases.add("sales", ["josé", "bob"]);
  await aliases.add("info@bücher.example", ["sales"]);
  await aliases.add("bobs", ["bob"]);
  await aliases.add("@bücher.example", ["josé"]);
});

test.each([
  ["jos\u00e9@ring.test", "allowed"],
  ["JOSE\u0301@RING.test", "allowed"],
  ["josé+list@ring.test", "allowed"],
  ["sales@ring.test", "allowed"],
  ["Sales+x@ring.test", "allowed"],
  ["info@BÜCHER.example", "allowed"],
  ["info@xn--bcher-kva.example", "allowed"],
  ["bob@ring.test", "refused"],
  ["bobs@ring.test", "refused"],
  ["josé@bücher.example", "refused"],
  ["anybody@bücher.example", "refused"],
  ["nobody@ring.test", "refused"],
  ["josé@example.org", "refused"],
  ["josé", "refused"],
  ["", "refused"],
  ["a b@ring.test", "refused"],
])("josé as %s: %s", async (address, expected) => {
  expect(await world.registry.senders.maySend(ann, address)).toBe(expected);
});

test("a disabled account sends as nobody", async () => {
  await world.registry.accounts.update("josé", (account) => ({ ...account, disabled: true }));
  expect(await world.registry.senders.maySend(ann, "josé@ring.test")).toBe("refused");
  expect(await world.registry.senders.maySend(ann, "sales@ring.test")).toBe("refused");
});

test("while too few members tell it is undecided", async () => {
  world.nowMs += 5_001;
  world.registers.silent.add("all");
  expect(await world.registry.senders.maySend(ann, "sales@ring.test")).toBe("undecided");
  expect(await world.registry.senders.maySend(ann, "x@other.example")).toBe("undecided");
});
