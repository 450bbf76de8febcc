/** A POP3 session while nodes die and freeze: it goes on, or it changes nothing. */
import { expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { fetchAll, loginWhenFree, type Pop3Client } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { sendMail } from "../support/smtp-client.js";
import { checkPromises, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();
const mails = 4;

/** A fresh account with some mails of different sizes; answers their UIDLs. */
async function fill(ring: Ring, name: string): Promise<string[]> {
  await ring.addUsers([name]);
  for (let n = 0; n < mails; n += 1) {
    const text = `${name} ${n} `.repeat(1 + 40 * n);
    const mail = Buffer.from(`Subject: ${n}\r\n\r\n${text.match(/.{1,70}/g)?.join("\r\n")}\r\n`);
    await sendMail(ring.member(n % 3).smtp, { from: "", to: [`${name}@${domain}`] }, mail);
  }
  return await uidsAt(ring.entry, name);
}

async function uidsAt(member: Member, name: string): Promise<string[]> {
  return (await fetchAll(member.pop3, name, password)).map(({ uid }) => uid);
}

/** Waits until every member that runs serves just these. */
async function servedEverywhere(ring: Ring, name: string, uids: readonly string[]): Promise<void> {
  for (const member of ring.running) expect(await uidsAt(member, name)).toEqual(uids);
}

/** The ids of the maildrop's group, the first owner first. */
async function groupOf(ring: Ring, name: string): Promise<string[]> {
  const { key, copies } = await ring.locate(name);
  const size = 2 ** ring.bits;
  const distance = (id: string): number => (Number(id) - Number(key) + size) % size;
  const ids = copies.filter(({ inGroup }) => inGroup).map(({ id }) => id);
  return ids.sort((a, b) => distance(a) - distance(b));
}

async function retrieveAll(client: Pop3Client): Promise<Buffer[]> {
  const got: Buffer[] = [];
  for (let n = 1; n <= mails; n += 1) got.push(await client.retr(n));
  return got;
}

test("a session goes on when the first owner of its maildrop dies", async () => {
  const ring = await scope.start({ members: 4, replicas: 2 });
  const load = await startLoad(ring);
  const fronts = ["outside the group", "in the group"];
  for (const [round, where] of fronts.entries()) {
    const name = `drop-${round}`;
    const uids = await fill(ring, name);
    const group = await groupOf(ring, name);
    const owner = ring.members.find(({ id }) => id === group[0]);
    const front = ring.members.find(({ id }) =>
      round === 0 ? !group.includes(id) : id === group[1],
    );
    if (owner === undefined || front === undefined) throw new Error(`nobody is ${where}`);

    const before = await fetchAll(front.pop3, name, password);
    const client = await loginWhenFree(front.pop3, name, password);
    await owner.kill("SIGKILL");
    const got = await retrieveAll(client);
    expect(got.map((bytes) => bytes.toString())).toEqual(
      before.map(({ bytes }) => bytes.toString()),
    );
    await client.expect("DELE 1");
    await client.expect("DELE 3");
    await client.quit();
    const left = uids.filter((_, index) => index % 2 === 1);
    await servedEverywhere(ring, name, left);
    await owner.restart();
    await ring.settled();
    await servedEverywhere(ring, name, left);
  }
  await checkPromises(ring, load);
}, 300_000);

test("R9: a front node that was frozen and lost the lock deletes nothing", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  const load = await startLoad(ring);
  for (const [round, theNextOne] of ["is still there", "has come and gone"].entries()) {
    const name = `frozen-${round}`;
    const uids = await fill(ring, name);
    const [frozen, other] = [ring.member(round), ring.member(round + 1)];
    const client = await loginWhenFree(frozen.pop3, name, password);
    await client.expect("DELE 1");
    await client.expect("DELE 2");
    await frozen.kill("SIGSTOP");
    const next = await patiently(other, name);
    expect(await next.uidl()).toEqual(uids);
    if (round === 1) await next.quit();
    await frozen.kill("SIGCONT");
    const reply = await client.command("QUIT");
    expect(reply.line, `the next one ${theNextOne}`).toMatch(/^-ERR /);
    client.destroy();
    if (round === 0) {
      // The lock is still the other's: it may delete.
      await next.expect("DELE 4");
      await next.quit();
      uids.pop();
    }
    await ring.settled();
    await servedEverywhere(ring, name, uids);
  }
  await checkPromises(ring, load);
}, 300_000);

test("the lock of a killed node's session is free for the next login elsewhere", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  const load = await startLoad(ring);
  const tookMs: number[] = [];
  for (const victim of ring.members) {
    const name = `locked-${victim.id}`;
    const uids = await fill(ring, name);
    const holder = await loginWhenFree(victim.pop3, name, password);
    await holder.expect("DELE 1");
    await victim.kill("SIGKILL");
    const startMs = performance.now();
    const next = await patiently(ring.entry, name);
    tookMs.push(Math.round(performance.now() - startMs));
    holder.destroy();
    expect(await next.uidl()).toEqual(uids);
    await next.quit();
    await victim.restart();
    await ring.settled();
  }
  process.stdout.write(`free after the holder's node was killed: ${tookMs.join(", ")} ms\n`);
  expect(Math.max(...tookMs)).toBeLessThan(30_000);
  await checkPromises(ring, load);
}, 300_000);

/** Logs in as soon as it is let in, whatever it is told before. */
function patiently(member: Member, name: string): Promise<Pop3Client> {
  return waitUntil(() => loginWhenFree(member.pop3, name, password, 10_000), {
    deadlineMs: 60_000,
    what: `a login of ${name} at member ${member.id}`,
    everyMs: 20,
  });
}
