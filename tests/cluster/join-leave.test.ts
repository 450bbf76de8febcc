/** Members come and go under load, and some die while they come: nothing is lost. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { fetchAll } from "../support/pop3-client.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import {
  ballast,
  ballastBox,
  boxes,
  checkPromises,
  some,
  startLoad,
} from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();

/** Octets in the journal of a member, as far as it is there. */
function journalOctets(member: Member): number {
  const folder = join(member.dataDir, "journal");
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
}

let nextId = 30_000;

/**
 * Starts newcomers until one is killed when it is on the roster and has begun to copy. Those that
 * were quicker than us are sent away.
 */
async function dieCopying(ring: Ring): Promise<Member> {
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    nextId += 1;
    const joiner = await ring.make({ id: nextId });
    joiner.start();
    await joiner.says(new RegExp(`"${joiner.id} joining"`));
    await waitUntil(() => journalOctets(joiner) > 200_000, {
      deadlineMs: 60_000,
      what: "the joiner to copy something",
      everyMs: 1,
    });
    await joiner.kill("SIGKILL");
    if (!/"ranges copied"|"ready"/.test(joiner.tail(50))) return joiner;
    await joiner.restart();
    await chordOk(["leave", "--entry", joiner.addr], { deadlineMs: 90_000 });
    await joiner.exited;
  }
  throw new Error("every newcomer had copied all before it could be killed");
}

test("a joiner dies in mid-copy and comes again; another one never comes back", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([ballastBox]);
  await ballast(ring, 150, 200_000);
  const load = await startLoad(ring);

  const joiner = await dieCopying(ring);
  await load.progress(some, "while the joiner is dead");
  ring.members.push(joiner);
  await joiner.restart();
  await ring.settled();
  await load.progress(some, "with the joiner");
  const ballastUids = await uidsAt(ring.member(0));
  expect(ballastUids).toHaveLength(150);
  expect(await uidsAt(joiner)).toEqual(ballastUids);

  const lost = await dieCopying(ring);
  await load.progress(some, "while a joiner is lost");
  await waitUntil(async () => (await ring.memberStatus(lost.id)) === undefined, {
    deadlineMs: 60_000,
    what: "the lost joiner to be taken off the roster",
    everyMs: 200,
  });
  // The ring is free for the next one.
  await ring.grow({ id: 1 });
  await checkPromises(ring, load);
}, 300_000);

async function uidsAt(member: Member): Promise<string[]> {
  const mails = await fetchAll(member.pop3, ballastBox, password, { pipelined: true });
  return mails.map(({ uid }) => uid);
}

test("three join at the same time; then two leave, one after the other", async () => {
  const ring = await scope.start({ members: 2, replicas: 2 });
  const load = await startLoad(ring);
  const joiners: Member[] = [];
  for (let n = 0; n < 3; n += 1) {
    const joiner = await ring.make();
    joiners.push(joiner);
    ring.members.push(joiner);
  }
  // Their SMTP and POP3 come with the ready line; nobody uses them before.
  await ring.restartAll(joiners);
  await ring.settled();
  await load.progress(some, "with three newcomers");
  for (const leaver of [ring.member(0), ring.member(3)]) {
    await chordOk(["leave", "--entry", leaver.addr], { deadlineMs: 90_000 });
    expect(await leaver.exited).toMatchObject({ code: 0 });
    await load.progress(some, "after one left");
    await ring.settled();
    await ring.copiesEqual(boxes, { copies: 3 });
  }
  await checkPromises(ring, load);
}, 300_000);
