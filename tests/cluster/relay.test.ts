/** Mail that leaves the ring: every one arrives, whoever dies; doubles only around a kill. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { chordBin } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { freeRingPort } from "../support/ports.js";
import { runProcess } from "../support/process.js";
import { admin, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { FakeSmartHost } from "../support/smart-host.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("file");
const host = new FakeSmartHost();
let ring: Ring;

beforeAll(async () => {
  await host.start();
  const args = ["--relay", host.addr, "--relay-retry", "1", "--log-level", "debug"];
  ring = await scope.start({ members: 3, replicas: 2, args });
});

afterAll(() => host.stop());

beforeEach(async () => {
  host.treat = () => "take";
  await untilEmpty();
  host.taken.length = 0;
  host.tries.length = 0;
});

async function untilEmpty(): Promise<void> {
  await waitUntil(async () => expect(await waiting()).toBe(0), {
    deadlineMs: 60_000,
    what: "nothing to wait any more",
    everyMs: 100,
  });
}

async function waiting(): Promise<number | null> {
  return (await admin(ring.entry.addr, "relayStatus", {})).waiting;
}

/** Of which each is durable on the ring. */
async function add(through: Member, to: string, count = 1): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    ids.push((await admin(through.addr, "relayTest", { to })).messageId);
  }
  return ids;
}

const failuresOf = (member: Member): number =>
  member
    .tail(2_000)
    .split("\n")
    .filter((line) => line.includes("was not taken yet")).length;

/** Who sends: the one that logs a try that failed. */
async function sender(provoke: () => Promise<unknown>): Promise<Member> {
  const before = new Map(ring.running.map((member) => [member, failuresOf(member)]));
  await provoke();
  return await waitUntil(
    () => ring.running.find((member) => failuresOf(member) > (before.get(member) ?? 0)),
    { deadlineMs: 30_000, what: "a member to try", everyMs: 20 },
  );
}

test.each([
  ["right\n", 0o644, "is open to others (mode 644): chmod 600"],
  ["two\nlines\n", 0o600, "must hold the relay's password on one line"],
  [undefined, 0o600, "is not there"],
])("the file of the relay's password: %j, mode %o", async (text, mode, why) => {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-relay-"));
  const path = join(folder, "password");
  if (text !== undefined) writeFileSync(path, text);
  if (text !== undefined) chmodSync(path, mode);
  const login = ["--relay-user", "ring", "--relay-password-file", path];
  const place = ["--addr", `127.0.0.1:${await freeRingPort()}`, "--data", join(folder, "data")];
  const args = [chordBin, ...place, "--relay", host.addr, ...login];
  const { code, stdout, stderr } = await runProcess(process.execPath, args);
  expect(code).toBe(1);
  expect(`${stdout.toString()}${stderr}`).toContain(why);
  expect(`${stdout.toString()}${stderr}`).not.toContain("right");
  rmSync(folder, { recursive: true, force: true });
});

test("through any member, from the null sender, each once, in order for each recipient", async () => {
  const sent: Record<string, string[]> = { "ann@else.test": [], "bob@else.test": [] };
  for (let round = 0; round < 10; round += 1) {
    for (const [to, ids] of Object.entries(sent)) {
      ids.push(...(await add(ring.member(round % 3), to)));
    }
  }
  await host.untilTaken(Object.values(sent).flat());
  await untilEmpty();
  for (const [to, ids] of Object.entries(sent)) {
    const got = host.taken.filter((mail) => mail.to === to);
    expect(got.map(({ messageId }) => messageId)).toEqual(ids);
  }
  expect(new Set(host.taken.map(({ from }) => from))).toEqual(new Set([""]));
  expect(host.taken[0]?.octets.toString()).not.toContain("Ringpost-Outgoing-To");
});

test("4yz is tried again, 5yz is not, and neither holds up other recipients", async () => {
  host.treat = ({ to }, tries) => {
    if (to.startsWith("never")) return "550 5.1.1 no such user";
    return to.startsWith("later") && tries < 3 ? "451 4.3.0 later" : "take";
  };
  const [never] = await add(ring.member(0), "never@else.test");
  const later = await add(ring.member(0), "later@else.test", 2);
  const good = await add(ring.member(0), "good@else.test", 5);
  await host.untilTaken([...good, ...later]);
  await untilEmpty();
  const order = host.taken.map(({ messageId }) => messageId);
  expect(order.slice(-2)).toEqual(later);
  expect(host.tries.filter(({ messageId }) => messageId === never)).toHaveLength(1);
  expect(order).toHaveLength(7);
});

test("the smart host breaks off, and is away for a while", async () => {
  host.treat = (_, tries) => (tries === 1 ? "vanish" : "take");
  const first = await add(ring.member(1), "ann@else.test", 3);
  await host.untilTaken(first);
  await host.stop();
  const second = await add(ring.member(2), "ann@else.test", 3);
  expect(await waiting()).toBe(3);
  await host.start();
  await host.untilTaken(second);
  await untilEmpty();
  expect(host.taken.map(({ messageId }) => messageId)).toEqual([...first, ...second]);
});

test("SIGKILL of the member that sends: every mail arrives, doubles are few", async () => {
  host.treat = ({ to }) => (to.startsWith("slow") ? "451 4.3.0 later" : "take");
  const slow: string[] = [];
  const killed = await sender(async () =>
    slow.push(...(await add(ring.member(0), "slow@else.test"))),
  );
  host.treat = ({ to }) => (to.startsWith("hang") ? "hang" : "take");
  const other = ring.others(killed)[0];
  if (other === undefined) throw new Error("no other member");
  const hung = await add(other, "hang@else.test");
  const rest: string[] = [];
  for (let n = 0; n < 20; n += 1) rest.push(...(await add(other, `n${n}@else.test`)));
  await waitUntil(() => host.tries.some(({ to }) => to.startsWith("hang")), {
    deadlineMs: 30_000,
    what: "a mail to be on its way",
    everyMs: 10,
  });
  await killed.kill("SIGKILL");
  host.treat = () => "take";
  const after = await add(other, "after@else.test");
  await host.untilTaken([...slow, ...hung, ...rest, ...after]);
  await untilEmpty();
  expect(host.taken.length - host.distinct.size).toBeLessThanOrEqual(4);
  await killed.restart();
});

test("SIGKILL of all members: what was kept is sent after the restart", async () => {
  await host.stop();
  const ids = await add(ring.member(0), "ann@else.test", 5);
  await Promise.all(ring.members.map((member) => member.kill("SIGKILL")));
  await host.start();
  await ring.restartAll(ring.members);
  await host.untilTaken(ids);
  await untilEmpty();
  expect(host.distinct.size).toBe(5);
});
