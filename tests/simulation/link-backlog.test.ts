/** What a message costs does not depend on how many wait with it: at a sender, at a receiver, at who consumes. */
import { expect, test } from "vitest";
import { memoryFiles } from "../../src/sdk/journal/memory-files.js";
import type { InboundMessage } from "../../src/sdk/link/ports.js";
import { type BareOptions, bareLink, ring } from "./link-bare.js";
import { SimulatedTime } from "./link-clock.js";

const time = new SimulatedTime();

const linkOf = async (user: string, submit: BareOptions["submit"]) => {
  const link = { windowOctets: 2 ** 30, blockOctets: 64 * 1_024 };
  return (await bareLink({ user, time, files: memoryFiles(), submit, link })).link;
};

/** Milliseconds of the processor per message, of each step. */
async function costOf(count: number, to: string): Promise<Record<string, number>> {
  const costs: Record<string, number> = {};
  const step = async (name: string, work: () => Promise<void>): Promise<void> => {
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    costs[name] = (user + system) / 1_000 / count;
  };
  const mails: Buffer[] = [];
  let isReachable = false;
  const ann = await linkOf("ann@ring.test", (outgoing) => {
    if (!isReachable) return Promise.resolve({ kind: "none", why: "offline" });
    const token = "t";
    mails.push(outgoing.mail({ from: "ann@ring.test", to, token }));
    const text = to === ring ? "2.0.0 ebm=taken n=1 routed=1 stored=2/3" : "2.0.0 queued";
    return Promise.resolve({ kind: "reply", code: 250, text });
  });
  await step("sending", async () => {
    for (let n = 0; n < count; n += 1) {
      const body = Buffer.from(String(n));
      await ann.send({ to, stream: "main", properties: { routingKey: "q" }, body });
    }
  });
  const bob = await linkOf("bob@ring.test", () => Promise.resolve({ kind: "none", why: "" }));
  await step("carrying", async () => {
    isReachable = true;
    ann.retry();
    // A first window of a peer is 1 MiB: enough for all of these small ones.
    await time.run(time.nowMs() + 60_000, () => ann.undelivered === 0);
  });
  ann.close();
  if (to === ring) return costs;
  await step("receiving", async () => {
    for (const [n, mail] of mails.entries()) await bob.receive(mail, String(n));
  });
  const taken: InboundMessage[] = [];
  await step("handing out", async () => {
    while (taken.length < count) taken.push(...bob.take(16));
    return Promise.resolve();
  });
  await step("consuming", async () => {
    for (const message of taken) await bob.consume(message);
  });
  bob.close();
  return costs;
}

const few = Number(process.env["RINGPOST_BACKLOG"] ?? 10_000) / 20;

test.each([
  ["a peer", "bob@ring.test"],
  ["the ring", ring],
])("for %s, a message among twenty times as many costs about the same", async (_, to) => {
  // What the machine has to warm up for.
  await costOf(few, to);
  const small = await costOf(few, to);
  const large = await costOf(few * 20, to);
  if (process.env["RINGPOST_FIGURES"]) console.log(to, { few, small, large });
  // By as much as a machine that others use may differ; what is quadratic costs twenty times as much.
  for (const [step, cost] of Object.entries(large)) {
    expect(cost, step).toBeLessThan(8 * Math.max(small[step] ?? 0, 0.002));
  }
});
