import { expect, test } from "vitest";
import { openJournal } from "../journal/journal.js";
import { streamKey } from "../journal/in-state.js";
import type { Connections } from "./connections.js";
import { Handing } from "./handing.js";
import type { Inbound } from "./inbound.js";
import type { LinkOptions } from "./ports.js";

const origin = { user: "ann@ring.test", device: "d", epoch: 1 };
const inbound = {} as Inbound;

/** Timers run when they are told to, since those of Node are late when the process is busy. */
class Clock {
  now = 1_000_000;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  nowMs = (): number => this.now;

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  runDue(): void {
    const due = this.#timers.filter(({ atMs }) => atMs <= this.now);
    this.#timers = this.#timers.filter((one) => !due.includes(one));
    for (const { run } of due) run();
  }
}

test("what is given back for long does not take the turn of what is due, and whose timer is late", async () => {
  const clock = new Clock();
  const journal = await openJournal({ user: "bob@ring.test" });
  let ready = 0;
  const handing = new Handing({
    ...{ journal, clock, connections: {} as Connections, ready: () => void (ready += 1) },
    options: { deliveriesMax: 20 } as Required<LinkOptions>,
  });
  const parts = ["one", "two"].map((stream) => ({
    ...{ stream, sequence: 1, id: stream, size: 1, offset: 0, octets: 1 },
    properties: { sentAtMs: 0 },
  }));
  const record = { kind: "in", connection: "c", packet: 1, floor: 0, origin, parts } as const;
  await journal.write(record, Buffer.from("12"));
  for (const name of ["one", "two"]) {
    const stream = journal.state.in.get(streamKey(origin, name));
    const message = stream?.messages.get(1);
    if (stream && message) handing.add(stream, message);
  }
  const [one, two] = handing.take(2, inbound, () => true);
  if (!one || !two) throw new Error("both are there");
  handing.giveBack(one, 10);
  clock.now += 12;
  handing.giveBack(two, 60_000);
  ready = 0;
  clock.now += 1;
  clock.runDue();
  expect(ready).toBe(1);
  expect(handing.take(2, inbound, () => true).map(({ stream }) => stream)).toEqual(["one"]);
  clock.now += 60_000;
  clock.runDue();
  expect(ready).toBe(2);
  expect(handing.take(2, inbound, () => true).map(({ stream }) => stream)).toEqual(["two"]);
});
