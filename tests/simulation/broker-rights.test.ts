/** Who may do what with queues and exchanges of a simulated ring. */
import { beforeEach, describe, expect, test } from "vitest";
import { BrokerWorld, message, sender, texts } from "./broker-world.js";

let ring: BrokerWorld;

beforeEach(async () => {
  ring = await BrokerWorld.form();
});

describe("who may what", () => {
  const as = (who: string) => sender(who);

  test("nobody but the owner, those who are named, or everyone", async () => {
    await ring.declare("private");
    await ring.declare("shared", { consumers: ["bob"], publishers: ["bob@ring.test"] });
    await ring.declare("open", { consumers: "everyone", publishers: "everyone" });
    const frame = (queue: string) => [message(1, { routingKey: queue, stream: queue })];
    const outcomes: Record<string, unknown> = {};
    for (const who of ["bob", "eve"]) {
      for (const queue of ["private", "shared", "open"]) {
        const sent = await ring.publish(1, frame(queue), as(who));
        const opened = await ring.must(1, (broker) => broker.openQueue(queue, as(who).user));
        const code = sent?.kind === "refused" ? sent.code : sent?.kind;
        outcomes[`${who} ${queue}`] = [code, opened.kind];
        if (opened.kind === "open") await ring.at(1, () => opened.session.close());
      }
    }
    expect(outcomes).toEqual({
      "bob private": ["forbidden", "denied"],
      "bob shared": ["taken", "open"],
      "bob open": ["taken", "open"],
      "eve private": ["forbidden", "denied"],
      "eve shared": ["forbidden", "denied"],
      "eve open": ["taken", "open"],
    });
    const { operations } = ring.broker(0);
    for (const work of [
      () => operations.removeQueue({ name: "open" }, as("eve")),
      () => operations.settle({ queue: "private", ack: [] }, as("eve")),
      () => operations.queueStatus({ name: "private" }, as("eve")),
      () => operations.redrive({ queue: "open" }, as("eve")),
    ]) {
      expect(await ring.must(0, work)).toMatchObject({ ok: false, code: "forbidden" });
    }
  });

  test("declaring again is the same, other options are `exists`", async () => {
    const ask = (options: object, who = "alice") =>
      ring.must(1, ({ operations }) =>
        operations.declareQueue({ name: "work", ...options }, as(who)),
      );
    expect(await ask({})).toMatchObject({ ok: true });
    expect(await ask({ leaseMs: 30_000 })).toMatchObject({ ok: true });
    expect(await ask({ leaseMs: 5_000 })).toMatchObject({ ok: false, code: "exists" });
    expect(await ask({ leaseMs: 1 })).toMatchObject({ ok: false, code: "malformed" });
    const exchangeOf = (type: "topic" | "direct") =>
      ring.must(2, ({ operations }) => operations.declareExchange({ name: "e", type }, as("bob")));
    expect(await exchangeOf("topic")).toMatchObject({ ok: true });
    expect(await exchangeOf("topic")).toMatchObject({ ok: true });
    expect(await exchangeOf("direct")).toMatchObject({ ok: false, code: "exists" });
    const bad = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "No Good" }, as("bob")),
    );
    expect(bad).toMatchObject({ ok: false, code: "malformed" });
  });

  test("nobody sets up a queue to catch another's dead letters", async () => {
    const squat = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "work.dead" }, as("eve")),
    );
    expect(squat).toMatchObject({ ok: false, code: "unknown" });
    await ring.declare("work");
    const again = await ring.must(0, ({ operations }) =>
      operations.declareQueue({ name: "work.dead" }, as("eve")),
    );
    expect(again).toMatchObject({ ok: false, code: "forbidden" });
  });

  test("who gets a name after another gets neither entries nor bindings of theirs", async () => {
    await ring.declare("work");
    await ring.exchange("event", "fanout", ["work"]);
    await ring.publish(0, [message(1, { exchange: "event" })]);
    await ring.open(2, "work");
    const removed = await ring.must(1, ({ operations }) =>
      operations.removeQueue({ name: "work" }, as("alice")),
    );
    expect(removed).toEqual({ ok: true, answer: {} });
    expect(await ring.publish(0, [message(2, { exchange: "event" })])).toMatchObject({ routed: 0 });
    await ring.declare("work", {}, "bob");
    expect(await ring.publish(0, [message(3, { exchange: "event" })])).toMatchObject({ routed: 0 });
    const opened = await ring.open(1, "work", "bob");
    expect(opened.shown).toEqual([]);
    const toBob = [message(1, { routingKey: "work" })];
    await ring.publish(0, toBob, as("bob"));
    await ring.at(1, () => opened.session.close());
    expect(texts(await ring.drain(2, "work", "bob"))).toEqual(["m1"]);
  });

  test("exchanges and queues that are not there are unknown", async () => {
    const nowhere = [message(1, { exchange: "none" })];
    expect(await ring.publish(0, nowhere)).toMatchObject({ kind: "refused", code: "unknown" });
    const none = [message(1, { routingKey: "none" })];
    expect(await ring.publish(0, none)).toMatchObject({ kind: "refused", code: "unknown" });
    const ask = { exchange: "none", queue: "none" };
    const bound = await ring.must(0, ({ operations }) => operations.bind(ask, as("alice")));
    expect(bound).toMatchObject({ ok: false, code: "unknown" });
  });
});
