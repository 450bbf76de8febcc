import { describe, expect, test } from "vitest";
import type { Body } from "../shared/body.js";
import { Coordinator, type DeliveryResult } from "./delivery.js";
import { Groups } from "./group.js";
import type { Files, Store } from "./ports.js";
import { type Roster, rosterFromJson, rosterToJson } from "./roster.js";
import {
  heldPeers,
  mailboxOf,
  memberOf,
  messageOf,
  type PendingCall,
  quietLog,
  rosterOf,
  settle,
} from "./testing.js";

const body: Body = {
  kind: "bytes",
  digest: messageOf(1).digest,
  bytes: Buffer.from("abc"),
};

/** A mail on its way to the group of a mailbox; the test answers for the members. */
class Delivery {
  readonly calls: PendingCall[];
  result: DeliveryResult | undefined;
  private roster: Roster;

  constructor(size: number, down: readonly string[] = []) {
    this.roster = rosterOf(Array.from({ length: size }, (_, i) => memberOf((i + 1) * 40)));
    const { peers, calls } = heldPeers();
    this.calls = calls;
    const held = this;
    const view = {
      get roster() {
        return held.roster;
      },
      learn: (json: unknown) => {
        this.roster = rosterFromJson(json);
        return Promise.resolve();
      },
    };
    const coordinator = new Coordinator({
      ...{ peers, view, log: quietLog },
      groups: new Groups(peers, view),
      store: {} as Store,
      files: {} as Files,
      isDown: ({ uuid }) => down.includes(uuid),
      onSunk: () => undefined,
    });
    const copy = { mailbox: mailboxOf("ann"), message: messageOf(1) };
    void coordinator.deliver([copy], body).then((result) => {
      this.result = result;
    });
  }

  /** Calls that were not answered yet. */
  private next = 0;

  async each(...answers: readonly (string | object | undefined)[]): Promise<this> {
    await settle();
    for (const answer of answers) {
      const call = this.calls[this.next];
      this.next += 1;
      if (!call) throw new Error("nobody was asked");
      if (answer === undefined) await call.fail();
      else await call.answer(typeof answer === "string" ? { kind: answer } : answer);
    }
    return this;
  }
}

describe("a mail is acknowledged", () => {
  test("with two of three copies, not with one", async () => {
    const delivery = await new Delivery(3).each("stored");
    expect(delivery.result).toBeUndefined();
    await delivery.each("stored");
    expect(delivery.result).toEqual({ kind: "stored", durable: 2, wanted: 3 });
  });

  test("with one copy and one hint, once the hint is kept and not before", async () => {
    const delivery = await new Delivery(5).each("stored", undefined, undefined);
    expect(delivery.calls).toHaveLength(5);
    expect(delivery.result).toBeUndefined();
    await delivery.each("stored");
    expect(delivery.result).toEqual({ kind: "stored", durable: 2, wanted: 3 });
  });

  test("a stand-in that was asked is not a copy: those known to be down come first", async () => {
    const group = (await new Delivery(5).each()).calls.map(({ to }) => to);
    const delivery = new Delivery(5, group.slice(1, 3));
    await settle();
    const own = delivery.calls.find(({ to }) => to === group[0]);
    await own?.answer({ kind: "stored" });
    expect(delivery.result).toBeUndefined();
    const standIn = delivery.calls.find(({ to }) => !group.includes(to));
    await standIn?.answer({ kind: "stored" });
    expect(delivery.result).toEqual({ kind: "stored", durable: 2, wanted: 3 });
  });

  test("two silent members get two stand-ins", async () => {
    const delivery = await new Delivery(5).each(undefined, undefined, undefined);
    const asked = delivery.calls.map(({ to }) => to);
    expect(new Set(asked).size).toBe(5);
    await delivery.each("stored", "stored");
    expect(delivery.result?.kind).toBe("stored");
  });

  test("in a ring of two with both copies while both answer", async () => {
    const delivery = await new Delivery(2).each("stored");
    expect(delivery.result).toBeUndefined();
    await delivery.each("stored");
    expect(delivery.result).toEqual({ kind: "stored", durable: 2, wanted: 2 });
  });

  test("in a ring of two with one copy when the other is silent", async () => {
    const delivery = await new Delivery(2).each("stored", undefined);
    expect(delivery.result).toEqual({ kind: "stored", durable: 1, wanted: 2 });
  });
});

describe("a mail is not acknowledged", () => {
  test.each([
    ["all are silent", 3, [undefined, undefined, undefined]],
    ["only one has it and nobody stands in", 3, ["stored", undefined, undefined]],
    ["disks fail", 3, ["failed", "failed", "stored"]],
  ] as const)("when %s", async (_, size, answers) => {
    const delivery = await new Delivery(size).each(...answers);
    expect(delivery.result?.kind).toBe("tempfail");
  });

  test("by an old roster: it goes to the new group", async () => {
    const members = [40, 80, 120, 160].map((id) => memberOf(id));
    const stale = { kind: "stale", roster: rosterToJson(rosterOf(members, 2, 2)) };
    const delivery = await new Delivery(3).each(stale, stale, stale);
    expect(delivery.result).toBeUndefined();
    await settle();
    expect(delivery.calls.slice(3).map(({ request }) => request["epoch"])).toEqual([2, 2, 2]);
    await delivery.each("stored", "stored");
    expect(delivery.result?.kind).toBe("stored");
  });
});

test("the file of a large body is there until the last copy is made", async () => {
  const roster = rosterOf([40, 80, 120].map((id) => memberOf(id)));
  const { peers, calls } = heldPeers();
  const view = { roster, learn: () => Promise.resolve() };
  const removed: string[] = [];
  const files = {
    read: () => Promise.resolve(Buffer.from("abc")),
    remove: (path: string) => {
      removed.push(path);
      return Promise.resolve();
    },
  } as Partial<Files> as Files;
  const coordinator = new Coordinator({
    ...{ peers, view, files, log: quietLog },
    groups: new Groups(peers, view),
    store: { spoolPath: () => "spool/2" } as Partial<Store> as Store,
    isDown: () => false,
    onSunk: () => undefined,
  });
  const file: Body = { kind: "file", digest: messageOf(1).digest, octets: 3, path: "spool/1" };
  const copy = { mailbox: mailboxOf("ann"), message: messageOf(1) };
  const delivered = coordinator.deliver([copy], file);
  await settle();
  const [first, second, third] = calls;
  await first?.answer({ kind: "ok" });
  await second?.answer({ kind: "ok" });
  await calls[3]?.answer({ kind: "stored" });
  await calls[4]?.answer({ kind: "stored" });
  expect((await delivered).kind).toBe("stored");
  await settle();
  expect(removed).toEqual([]);
  await third?.answer({ kind: "ok" });
  await calls[5]?.answer({ kind: "stored" });
  await settle();
  expect(removed).toEqual(["spool/1"]);
});
