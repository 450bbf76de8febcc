/**
 * Programs with the SDK, each a process of its own, a ring of three, and between them a relay that does to mails what mail
 * systems do, and worse. What EBM/1 guarantees is held against what the programs wrote down: each message once in
 * effect, never after its acknowledgement was durable, in order per sender and stream, while programs and
 * members are killed. `npm run drill:relay` is the same for 10,000 messages of up to 50 MB.
 */
import { beforeAll, expect, test } from "vitest";
import { composeMail, readMail } from "../../src/ebm/index.js";
import { createDice } from "../../src/drill/dice.js";
import { ringScope } from "../support/ring-scope.js";
import type { Ring } from "../support/ring.js";
import { hostile } from "./relay/chances.js";
import { type Chances, Fates, mailFaults } from "./relay/faults.js";
import { rewritten } from "./relay/rewriting.js";
import { run } from "./relay/run.js";

/** A mail that is lost without a word costs half a minute: fewer of them, that it does not take so long. */
const shortly: Chances = {
  ...hostile,
  broker: { ...hostile.broker, dropped: 0.003, "word lost": 0.003, delayed: 0.003 },
  peer: { ...hostile.peer, dropped: 0.015 },
};

const seed = Number(process.env["RINGPOST_SEED"] ?? 2);

test("a seed has the same in store for each mail, and every fault somewhere", () => {
  const [one, another] = [new Fates(seed, hostile), new Fates(seed, hostile)];
  const met = new Set<string>();
  for (let n = 0; n < 3_000; n += 1) {
    const mail = [`peer${n % 5}@ring.test`, "ring+data@ring.test", "broker"] as const;
    const [mine, theirs] = [one.ofMail(...mail), another.ofMail(...mail)];
    expect([mine.fault, mine.sizeMax, mine.dice.next()]).toEqual([
      ...[theirs.fault, theirs.sizeMax, theirs.dice.next()],
    ]);
    met.add(one.ofMail("a@ring.test", "b+data@ring.test", "peer").fault ?? "none");
    met.add(mine.fault ?? "none");
  }
  // What is for people and for the ring, together.
  expect([...met].sort()).toEqual([...mailFaults, "none"].sort());
});

test("whatever it rewrites, the packet is still in it", () => {
  const dice = createDice(seed);
  const packet = Buffer.from(Array.from({ length: 5_000 }, () => dice.whole(0, 255)));
  const mail = composeMail({
    ...{ from: "a@ring.test", to: "b@ring.test", messageId: "m@ring.test", packet },
    index: { connection: "c", packet: 1, type: "data" },
    date: new Date(0),
  });
  for (let n = 0; n < 300; n += 1) {
    const changed = rewritten(mail, dice);
    expect(readMail(changed).packet?.equals(packet), String(changed).slice(0, 800)).toBe(true);
    expect(/(?<!\r)\n|\r(?!\n)/.test(changed.toString("latin1"))).toBe(false);
  }
});

const scope = ringScope("file");
let ring: Ring;
beforeAll(async () => {
  ring = await scope.start({ members: 3 });
});

test("each message once, in order, whoever is killed and whatever becomes of the mails", async () => {
  const report = await run(ring, {
    ...{ seed, peers: 4, messages: 200, largest: 5_000_000, chances: shortly },
    ...{ killPeerEveryMs: 5_000, killMemberEveryMs: 15_000 },
    ...{ sendingMs: 120_000, deadlineMs: 240_000 },
  });
  const { lost, doubled, disordered, wrong, effects, kills, faults } = report;
  expect({ lost, doubled, disordered, wrong }, `seed ${seed}`).toEqual({
    ...{ lost: [], doubled: [], disordered: [], wrong: [] },
  });
  expect(effects).toBeGreaterThan(200);
  expect(kills.peers).toBeGreaterThan(4);
  expect(faults.size).toBeGreaterThan(10);
}, 400_000);
