/** The network is cut, silently: nothing is refused, packets are lost. */
import { afterEach, expect, test } from "vitest";
import type { MemberStatus } from "../../src/shared/admin.js";
import type { Member } from "../support/member.js";
import { Network } from "../support/netns.js";
import { Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { admin, domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient } from "../support/smtp-client.js";
import { boxes, checkPromises, connected, some, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();
const printed: string[] = [];

afterEach(() => {
  for (const line of printed.splice(0)) process.stdout.write(`${line}\n`);
});

async function startRing(network: Network, members: number): Promise<Ring> {
  return await scope.start({ members, replicas: 2, place: (index) => network.place(index) });
}

/** What one member says of itself; undefined when it can't be asked. */
async function ask(member: Member): Promise<MemberStatus | undefined> {
  return await admin(member.addr, "memberStatus", {}).catch(() => undefined);
}

/** Whether `members` are one Chord ring: each one's successor and predecessor are its neighbours. */
async function isOneRing(members: readonly Member[]): Promise<boolean> {
  const answers = await Promise.all(members.map(ask));
  const sorted = answers
    .filter((answer) => answer !== undefined)
    .sort((a, b) => Number(a.id) - Number(b.id));
  return (
    sorted.length === members.length &&
    sorted.every(({ successors, predecessor }, index) => {
      const next = sorted[(index + 1) % sorted.length];
      const before = sorted.at(index - 1);
      return successors[0] === next?.id && predecessor === before?.id;
    })
  );
}

/** Waits for one ring with equal copies after `heal`, and notes how long that took. */
async function healed(ring: Ring, what: string, heal: () => void): Promise<void> {
  heal();
  const startMs = performance.now();
  await waitUntil(() => isOneRing(ring.members), {
    deadlineMs: 60_000,
    what: `one ring after ${what}`,
    everyMs: 20,
  });
  const oneRingMs = performance.now() - startMs;
  await ring.settled();
  await ring.copiesEqual(boxes, { copies: 3 });
  const equalMs = performance.now() - startMs;
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
  printed.push(
    `healed after ${what}: one ring ${seconds(oneRingMs)} s, equal ${seconds(equalMs)} s`,
  );
}

/** What the member says to a new name and to a known one, at each of its doors. */
async function asksOf(member: Member, name: string): Promise<string[]> {
  const lines: string[] = [];
  const smtp = await SmtpClient.connect(member.smtp);
  try {
    await smtp.expect(250, "MAIL FROM:<>");
    lines.push((await smtp.command(`RCPT TO:<${name}@${domain}>`)).lines.join());
  } finally {
    smtp.destroy();
  }
  try {
    const pop3 = await Pop3Client.login(member.pop3, name, password);
    await pop3.quit();
    lines.push("+OK");
  } catch (error) {
    if (!(error instanceof Pop3Refused)) throw error;
    lines.push(error.line);
  }
  return lines;
}

async function register(member: Member, name: string): Promise<"done" | "unavailable" | "exists"> {
  try {
    await admin(member.addr, "userAdd", { name, password: `${password} of ${member.id}` });
    return "done";
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "unavailable" || code === "exists") return code;
    throw error;
  }
}

/** Waits until each has noticed that it lost the other. */
async function cutOff(ring: Ring, from: Member, lost: Member): Promise<void> {
  await waitUntil(async () => (await ring.memberStatus(lost.id, from))?.state === "unreachable", {
    deadlineMs: 60_000,
    what: `member ${from.id} to miss ${lost.id}`,
    everyMs: 100,
  });
}

test("one of three is unplugged, then plugged in again", async (context) => {
  const network = await Network.create(context, 3);
  const ring = await startRing(network, 3);
  const load = await startLoad(ring);
  network.unplug(1);
  await load.progress(some, "while one is unplugged");
  await cutOff(ring, ring.member(0), ring.member(1));
  await healed(ring, "an unplugged member", () => network.plug(1));
  await load.progress(some, "with all plugged in");
  await checkPromises(ring, load);
}, 300_000);

test("one of three is heard but does not hear, then hears but is not heard", async (context) => {
  const network = await Network.create(context, 3);
  const ring = await startRing(network, 3);
  const load = await startLoad(ring);
  for (const [what, cut] of [
    ["being deaf", (other: number) => network.cut(other, 2)],
    ["being mute", (other: number) => network.cut(2, other)],
    // Only between two: the third hears both.
    ["a cut between two", (other: number) => other === 0 && network.cut(2, other)],
  ] as const) {
    for (const other of [0, 1]) cut(other);
    await load.progress(some, `while one suffers from ${what}`);
    await healed(ring, what, () => network.heal());
  }
  await checkPromises(ring, load);
}, 300_000);

test("three and two of five: mail on both sides, accounts where the majority is", async (context) => {
  const network = await Network.create(context, 5);
  const ring = await startRing(network, 5);
  const load = await startLoad(ring);
  const epoch = (await ring.status()).rosterEpoch;
  // By place in the circle, so that some groups of three have their majority on the small side.
  const order = [...ring.members.keys()].sort(
    (a, b) => Number(ring.member(a).id) - Number(ring.member(b).id),
  );
  const [large, small] = [order.slice(0, 3), order.slice(3)];
  const onMany = await namesWithMajority(ring, large, 3);
  const onFew = await namesWithMajority(ring, small, 3);
  network.split(large, small);
  const sides = [large, small].map((side) => side.map((index) => ring.member(index)));
  const [many = [], few = []] = sides;
  const [one, other] = [many[0], few[0]];
  if (one === undefined || other === undefined) throw new Error("no sides");
  await cutOff(ring, one, other);
  await cutOff(ring, other, one);

  const winners = new Map<string, Member>();
  for (const [winner, names] of [
    [one, onMany],
    [other, onFew],
  ] as const) {
    for (const name of names) {
      expect((await registeredBy(name, [one, other])).id, name).toBe(winner.id);
      winners.set(name, winner);
    }
  }
  for (const [name, winner] of winners) {
    const loser = winner === one ? other : one;
    // Never "no such user".
    const [rcpt, login] = await asksOf(loser, name);
    expect(rcpt).toMatch(/^451 4\.3\.0 /);
    expect(login).toMatch(/^-ERR \[SYS\/TEMP\] /);
  }
  for (const [name, winner] of winners) await takesMail(winner, name);
  await load.progress(some, "while the ring is split");
  expect((await ring.status(one)).rosterEpoch).toBe(epoch);

  await healed(ring, "a split of three and two", () => network.heal());
  await connected(ring);
  for (const [name, winner] of winners) {
    for (const member of ring.members) {
      const client = await Pop3Client.login(member.pop3, name, `${password} of ${winner.id}`);
      await client.quit();
    }
  }
  await checkPromises(ring, load);
}, 300_000);

/** Free names whose group has its majority among these members. */
async function namesWithMajority(
  ring: Ring,
  side: readonly number[],
  count: number,
): Promise<string[]> {
  const ids = side.map((index) => ring.member(index).id);
  const names: string[] = [];
  for (let n = 0; names.length < count; n += 1) {
    const { copies } = await ring.locate(`new-${n}`);
    const here = copies.filter(({ id, inGroup }) => inGroup && ids.includes(id));
    if (here.length >= 2) names.push(`new-${n}`);
  }
  return names;
}

/** Both register the name until it is somebody's; answers whose. A busy majority may need two tries. */
async function registeredBy(name: string, members: readonly Member[]): Promise<Member> {
  const tries = new Map<Member, number>();
  return await waitUntil(
    async () => {
      const answers = await Promise.all(members.map((member) => register(member, name)));
      const winners = members.filter((member, n) => {
        const before = tries.get(member) ?? 0;
        tries.set(member, before + 1);
        // Its own try before, of which it was told that nothing was certain.
        return answers[n] === "done" || (answers[n] === "exists" && before > 0);
      });
      expect(winners.length, `${name}: ${answers.join(", ")}`).toBeLessThanOrEqual(1);
      return winners[0];
    },
    { deadlineMs: 60_000, what: `one side to register ${name}` },
  );
}

/** Waits until the member takes a mail; what it says before is a temporary refusal. */
async function takesMail(member: Member, name: string): Promise<void> {
  await waitUntil(
    async () => {
      const client = await SmtpClient.connect(member.smtp);
      try {
        const mail = Buffer.from(`Subject: from ${member.id}\r\n\r\nfrom one side\r\n`);
        const { reply } = await client.send({ from: "", to: [`${name}@${domain}`] }, mail);
        expect(reply.lines.join()).toMatch(/^(250|451) /);
        return reply.code === 250;
      } finally {
        client.destroy();
      }
    },
    { deadlineMs: 60_000, what: `member ${member.id} to take mail for ${name}` },
  );
}
