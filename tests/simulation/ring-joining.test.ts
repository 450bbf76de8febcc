/** Who may join, what a refusal says, and rings of one, two and three members. */
import { expect, test } from "vitest";
import { createRing } from "../../src/ring/actor.js";
import type { MemberRef } from "../../src/ring/member.js";
import type { Ring, RingJoinError, RingOptions, StartMode } from "../../src/ring/ports.js";
import type { Address, MemberUuid, RingId } from "../../src/shared/ids.js";
import {
  type Endpoint,
  seededRandom,
  SimulatedClock,
  SimulatedNetwork,
  uniform,
} from "./ring-network.js";

interface Node {
  readonly ring: Ring;
  readonly endpoint: Endpoint;
  cache: readonly MemberRef[];
  result: "starting" | "joined" | RingJoinError;
  duplicates: number;
}

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

class Lab {
  readonly clock = new SimulatedClock();
  readonly random = seededRandom(1);
  readonly network = new SimulatedNetwork({
    clock: this.clock,
    random: this.random,
    latencyMs: uniform(this.random, 1, 5),
    refusedShare: 0.5,
  });

  start(self: MemberRef, mode: StartMode, options: Partial<RingOptions> = {}): Node {
    const endpoint: Endpoint = { addr: self.addr, up: true, handle: (m) => ring.handle(m) };
    const parameters = { bits: 8, replicas: 2 };
    const onDuplicate = (): void => {
      node.duplicates += 1;
    };
    const ring = createRing(
      { self, parameters, onDuplicate, ...options },
      {
        call: (addr, message, { deadlineMs }) =>
          this.network.call(endpoint, addr, JSON.parse(JSON.stringify(message)), deadlineMs),
        setTimer: (ms, run) => this.clock.after(ms, run),
        random: this.random,
        persistCache: (known) => {
          node.cache = known;
        },
        log,
      },
    );
    const node: Node = { ring, endpoint, cache: [], result: "starting", duplicates: 0 };
    this.network.attach(endpoint);
    ring.start(mode).then(
      () => {
        node.result = "joined";
      },
      (error: RingJoinError) => {
        node.result = error;
      },
    );
    return node;
  }

  crash(node: Node): void {
    node.endpoint.up = false;
    node.ring.stop();
  }
}

function ref(id: number, uuid: string = `u${id}`, port = 5000): MemberRef {
  return {
    id: BigInt(id) as RingId,
    addr: `n${id}-${uuid}:${port}` as Address,
    uuid: uuid as MemberUuid,
  };
}

const first: StartMode = { kind: "first" };
const viaTen: StartMode = { kind: "join", entries: [ref(10).addr] };

function around(node: Node): string {
  const { predecessor, successors } = node.ring.snapshot();
  return `${predecessor?.id} < [${successors.map((entry) => entry.id).join(" ")}]`;
}

async function three() {
  const lab = new Lab();
  const a = lab.start(ref(10), first);
  const b = lab.start(ref(100), viaTen);
  const c = lab.start(ref(200), viaTen);
  await lab.clock.advance(5_000);
  return { lab, a, b, c };
}

test("one, two, three members, and back", async () => {
  const lab = new Lab();
  const a = lab.start(ref(10), first);
  await lab.clock.advance(3_000);
  expect([a.result, around(a)]).toEqual(["joined", "undefined < []"]);
  expect(await a.ring.lookup(99n as RingId)).toMatchObject({ ok: true, owner: ref(10) });
  const b = lab.start(ref(100), viaTen);
  await lab.clock.advance(3_000);
  expect([b.result, around(a), around(b)]).toEqual(["joined", "100 < [100]", "10 < [10]"]);
  const c = lab.start(ref(200), viaTen);
  await lab.clock.advance(3_000);
  expect([around(a), around(b), around(c)]).toEqual([
    "200 < [100 200]",
    "10 < [200 10]",
    "100 < [10 100]",
  ]);
  lab.crash(b);
  await lab.clock.advance(3_000);
  expect([around(a), around(c)]).toEqual(["200 < [200]", "10 < [10]"]);
  lab.crash(c);
  await lab.clock.advance(3_000);
  expect(around(a)).toBe("undefined < []");
  const again = lab.start(ref(200), { kind: "resume" }, { known: c.cache });
  await lab.clock.advance(3_000);
  expect([again.result, around(a), around(again)]).toEqual(["joined", "200 < [200]", "10 < [10]"]);
});

test("a restart of everything gives one ring again", async () => {
  const { lab, a, b, c } = await three();
  for (const node of [a, b, c]) lab.crash(node);
  await lab.clock.advance(1_000);
  const nodes = [a, b, c].map((node, i) =>
    lab.start(ref([10, 100, 200][i] ?? 0), { kind: "resume" }, { known: node.cache }),
  );
  await lab.clock.advance(5_000);
  expect(nodes.map(around)).toEqual(["200 < [100 200]", "10 < [200 10]", "100 < [10 100]"]);
});

test("after a partition heals there is one ring within 5 s", async () => {
  const { lab, a, b, c } = await three();
  const cut = ref(200).addr;
  lab.network.isConnected = (from, to) => (from === cut) === (to === cut);
  await lab.clock.advance(60_000);
  expect([around(a), around(b), around(c)]).toEqual(["100 < [100]", "10 < [10]", "undefined < []"]);
  lab.network.isConnected = () => true;
  await lab.clock.advance(5_000);
  expect([around(a), around(b), around(c)]).toEqual([
    "200 < [100 200]",
    "10 < [200 10]",
    "100 < [10 100]",
  ]);
});

test("a connection that stands again mends the ring before anybody looks for the others", async () => {
  const never = { cacheIntervalMs: 3_600_000 };
  const lab = new Lab();
  const nodes = [10, 60, 100, 200].map((id) => {
    const node = lab.start(ref(id), id === 10 ? first : viaTen, never);
    return node;
  });
  await lab.clock.advance(10_000);
  const isOneSide = (addr: Address): boolean => [ref(10).addr, ref(100).addr].includes(addr);
  lab.network.isConnected = (from, to) => isOneSide(from) === isOneSide(to);
  await lab.clock.advance(60_000);
  lab.network.isConnected = () => true;
  await lab.clock.advance(10_000);
  expect(nodes.map(around)).toEqual(["100 < [100]", "200 < [200]", "10 < [10]", "60 < [60]"]);
  for (const { ring } of nodes) for (const id of [10, 60, 100, 200]) ring.welcome(ref(id).addr);
  await lab.clock.advance(5_000);
  expect(nodes.map(around)).toEqual([
    "200 < [60 100 200]",
    "10 < [100 200 10]",
    "60 < [200 10 60]",
    "100 < [10 60 100]",
  ]);
});

test("an id that a live member has is refused, and the ring is unchanged", async () => {
  const { lab, a, b, c } = await three();
  const before = [a, b, c].map(around);
  const twin = lab.start(ref(100, "twin"), viaTen);
  await lab.clock.advance(3_000);
  expect(twin.result).toMatchObject({ code: "duplicate-id" });
  expect(String(twin.result)).toMatch(/id 100 is taken by a live member: .*100/);
  expect([a, b, c].map(around)).toEqual(before);
});

test("one that joins behind another newcomer is placed after it, before any stabilization", async () => {
  const slow = { stabilizeIntervalMs: 60_000, fingerIntervalMs: 60_000, cacheIntervalMs: 60_000 };
  const lab = new Lab();
  const a = lab.start(ref(10), first, slow);
  const d = lab.start(ref(200), viaTen, slow);
  await lab.clock.advance(300_000);
  const b = lab.start(ref(100), viaTen, slow);
  await lab.clock.advance(1_000);
  const c = lab.start(ref(150), viaTen, slow);
  await lab.clock.advance(1_000);
  expect([around(b), around(c)]).toEqual(["10 < [200 10]", "100 < [200 10]"]);
  // The oldest know of neither yet, but every key has its owner.
  expect(around(a)).toBe("200 < [200]");
  const owners = [99, 101, 151].map((key) => a.ring.lookup(BigInt(key) as RingId));
  await lab.clock.advance(1_000);
  const found = (await Promise.all(owners)).map((result) => result.ok && result.owner.id);
  expect(found).toEqual([b, c, d].map((node) => node.ring.snapshot().self.id));
});

test("an id is free once its holder is found dead", async () => {
  const { lab, b, a } = await three();
  lab.crash(b);
  const heir = lab.start(ref(100, "heir"), viaTen);
  await lab.clock.advance(5_000);
  expect(heir.result).toBe("joined");
  expect(around(a)).toBe("200 < [100 200]");
  expect(a.ring.snapshot().successors[0]).toEqual(ref(100, "heir"));
});

test("a copy of a data directory that is in the ring is refused", async () => {
  const { lab } = await three();
  const copy = lab.start({ ...ref(100), addr: "copy:1" as Address }, viaTen);
  await lab.clock.advance(3_000);
  expect(copy.result).toMatchObject({ code: "duplicate-id" });
});

test("two that join under one id at the same moment: one is told to go", async () => {
  const { lab } = await three();
  const one = lab.start(ref(150, "one"), viaTen);
  const two = lab.start(ref(150, "two"), viaTen);
  await lab.clock.advance(5_000);
  const refused = [one, two].filter(
    (node) => node.duplicates > 0 || (node.result !== "joined" && node.result !== "starting"),
  );
  expect(refused).toHaveLength(1);
});

test.each([
  [{ bits: 16, replicas: 2 }, /this ring has bits=8, the caller bits=16/],
  [{ bits: 8, replicas: 1 }, /this ring has replicas=2, the caller replicas=1/],
])("a node of another ring (%j) is refused with the reason", async (parameters, reason) => {
  const { lab, a } = await three();
  const stranger = lab.start(ref(60), viaTen, { parameters });
  await lab.clock.advance(3_000);
  expect(stranger.result).toMatchObject({ code: "wrong-ring" });
  expect(String(stranger.result)).toMatch(reason);
  expect(around(a)).toBe("200 < [100 200]");
});

test("without an entry that answers, joining fails after its deadline", async () => {
  const lab = new Lab();
  const node = lab.start(ref(60), viaTen, { joinDeadlineMs: 3_000 });
  await lab.clock.advance(2_900);
  expect(node.result).toBe("starting");
  await lab.clock.advance(200);
  expect(node.result).toMatchObject({ code: "no-entry" });
  expect(String(node.result)).toContain(ref(10).addr);
});

test("a node that is stopped while it joins says so", async () => {
  const lab = new Lab();
  const node = lab.start(ref(60), viaTen);
  await lab.clock.advance(1_000);
  node.ring.stop();
  await lab.clock.advance(10);
  expect(node.result).toMatchObject({ code: "stopped" });
});

test("rubbish is refused and changes nothing", async () => {
  const { a, lab } = await three();
  const header = { protocol: 1, bits: 8, replicas: 2 };
  const from = { id: "300", addr: "x:1", uuid: "x" };
  for (const junk of [
    undefined,
    7,
    "x",
    [],
    {},
    { kind: "notify" },
    { kind: "pong", self: from },
  ]) {
    expect(a.ring.handle(junk)).toMatchObject({ kind: "refused", code: "malformed" });
  }
  const tooLong = { kind: "notify", ring: header, from };
  expect(a.ring.handle(tooLong)).toMatchObject({ kind: "refused", code: "malformed" });
  await lab.clock.advance(2_000);
  expect(around(a)).toBe("200 < [100 200]");
});

test("a broken connection is looked into at once, not at the next tick", async () => {
  const slow = { stabilizeIntervalMs: 60_000, fingerIntervalMs: 60_000, cacheIntervalMs: 60_000 };
  const lab = new Lab();
  const a = lab.start(ref(10), first, slow);
  const b = lab.start(ref(100), viaTen, slow);
  const c = lab.start(ref(200), viaTen, slow);
  await lab.clock.advance(300_000);
  lab.crash(b);
  a.ring.suspect(ref(100).addr);
  await lab.clock.advance(1_200);
  expect(around(a)).toBe("200 < [200]");
  expect(a.ring.isSilent(ref(100).uuid)).toBe(true);
  expect(c.ring.snapshot().member).toBe(true);
});

test("a member that left by agreement is no longer looked for", async () => {
  const lab = new Lab();
  const a = lab.start(ref(10), first);
  const b = lab.start(ref(100), viaTen);
  await lab.clock.advance(3_000);
  lab.crash(b);
  a.ring.forget(ref(100).uuid);
  await lab.clock.advance(3_000);
  const { calls } = lab.network;
  await lab.clock.advance(60_000);
  expect(lab.network.calls).toBe(calls);
  expect(a.cache).toEqual([]);
});

test("the roster's members are found without an entry", async () => {
  const { lab, a } = await three();
  const other = lab.start(ref(60), first);
  await lab.clock.advance(2_000);
  other.ring.learn([ref(200)]);
  await lab.clock.advance(5_000);
  expect(around(a)).toBe("200 < [60 100 200]");
});
