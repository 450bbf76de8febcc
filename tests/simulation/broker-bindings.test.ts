/** When a binding counts, in a whole ring on simulated time: at once and everywhere, and before its exchange is there. */
import { beforeEach, expect, test } from "vitest";
import type { Binding, ExchangeOptions } from "../../src/ebm/index.js";
import { BrokerWorld, message, sender } from "./broker-world.js";

let ring: BrokerWorld;
const done = { ok: true, answer: {} };

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

const queue = (index: number, name: string, who: string) =>
  ring.must(index, ({ operations }) => operations.declareQueue({ name }, sender(who)));
const exchange = (index: number, options: { name: string } & ExchangeOptions, who: string) =>
  ring.must(index, ({ operations }) => operations.declareExchange(options, sender(who)));
const bind = (index: number, binding: Binding, who: string) =>
  ring.must(index, ({ operations }) => operations.bind(binding, sender(who)));
const unbind = (index: number, binding: Binding, who: string) =>
  ring.must(index, ({ operations }) => operations.unbind(binding, sender(who)));
const publish = (index: number, sequence: number, who: string) =>
  ring.publish(
    index,
    [message(sequence, { exchange: "news", routingKey: "a" })],
    sender(who, 1, who),
  );

const news: { name: string } & ExchangeOptions = {
  name: "news",
  type: "topic",
  subscribers: "everyone",
};
const bobs: Binding = { exchange: "news", queue: "bobs", key: "#" };

test("once bound, what is published through a node that could not be told is routed as bound", async () => {
  await exchange(1, news, "alice");
  await queue(1, "bobs", "bob");
  // The node remembers the exchange without its binding.
  expect(await publish(2, 1, "alice")).toMatchObject({ kind: "taken", routed: 0 });
  const [teller, deaf] = [ring.member(0).addr, ring.member(2).addr];
  const join = [ring.world.network.cut(teller, deaf), ring.world.network.cut(deaf, teller)];
  expect(await bind(0, bobs, "bob")).toEqual(done);
  expect(await publish(2, 2, "alice")).toMatchObject({ kind: "taken", routed: 1 });
  // And the same when it is taken back.
  expect(await unbind(0, bobs, "bob")).toEqual(done);
  expect(await publish(2, 3, "alice")).toMatchObject({ kind: "taken", routed: 0 });
  for (const each of join) each();
});

test("a queue waits for an exchange that nobody has made yet, and belongs to who makes it", async () => {
  await queue(0, "bobs", "bob");
  expect(await bind(0, bobs, "bob")).toMatchObject({ ok: false, code: "unknown" });
  expect(await bind(0, { ...bobs, early: true }, "bob")).toEqual(done);
  // A bind that does not wait still finds no exchange, and so does who would remove it.
  expect(await bind(1, { ...bobs, key: "b" }, "bob")).toMatchObject({ code: "unknown" });
  const removed = await ring.must(1, ({ operations }) =>
    operations.removeExchange({ name: "news" }, sender("bob")),
  );
  expect(removed).toMatchObject({ ok: false, code: "unknown" });
  expect(await publish(1, 1, "bob")).toMatchObject({ kind: "refused" });

  expect(await exchange(2, news, "alice")).toEqual(done);
  expect(await publish(1, 1, "alice")).toMatchObject({ kind: "taken", routed: 1 });
  expect(await publish(1, 1, "bob")).toMatchObject({ kind: "refused", code: "forbidden" });
});

test("who waits for an exchange gets nothing of it when it is made for its owner alone", async () => {
  await queue(0, "bobs", "bob");
  expect(await bind(0, { ...bobs, early: true }, "bob")).toEqual(done);
  expect(await exchange(1, { name: "news", type: "topic" }, "alice")).toEqual(done);
  expect(await publish(2, 1, "alice")).toMatchObject({ kind: "taken", routed: 0 });
  expect(await bind(0, { ...bobs, early: true }, "bob")).toMatchObject({ code: "forbidden" });
});

test("who waits for an exchange and may is bound when it is made for some, the maker's own queue too", async () => {
  for (const who of ["alice", "bob", "carol"]) {
    await queue(0, `${who}s`, who);
    expect(await bind(0, { ...bobs, queue: `${who}s`, early: true }, who)).toEqual(done);
  }
  expect(await exchange(1, { ...news, subscribers: ["bob@ring.test"] }, "alice")).toEqual(done);
  expect(await publish(2, 1, "alice")).toMatchObject({ kind: "taken", routed: 2 });
  const carols = { ...bobs, queue: "carols" };
  // Whoever asks again is told.
  expect(await bind(0, carols, "carol")).toMatchObject({ ok: false, code: "forbidden" });
  expect(await bind(0, bobs, "bob")).toEqual(done);
});

test("an exchange that is waited for ends with the last that waits", async () => {
  await queue(0, "bobs", "bob");
  await queue(0, "more", "bob");
  await bind(0, { ...bobs, early: true }, "bob");
  await bind(0, { ...bobs, queue: "more", early: true }, "bob");
  await unbind(1, bobs, "bob");
  await ring.must(1, ({ operations }) => operations.removeQueue({ name: "more" }, sender("bob")));
  const { life } = ring.member(2);
  const kept = await ring.must(2, async () => life?.replication.registers.read("exchange:news"));
  expect(kept).toMatchObject({ kind: "value", value: { removed: true } });
});
