/** Disks are full: who can't store says so, half a mail is nobody's, and space mends it all. */
import { expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { type FetchedMail, fetchAll } from "../support/pop3-client.js";
import { domain, password } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, type SmtpReply } from "../support/smtp-client.js";
import { SmallDisk } from "../support/tmpfs.js";
import { checkPromises, kept, some, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();
const ownBox = "own";
const largeBox = "large";

/** What the member answers to a mail of its own, at whatever point it answers. */
async function send(
  member: Member,
  text: string,
  { box = ownBox, octets = 0 } = {},
): Promise<SmtpReply> {
  const client = await SmtpClient.connect(member.smtp);
  try {
    const filling = `${"x".repeat(70)}\r\n`.repeat(octets / 72);
    const mail = Buffer.from(`Subject: ${text}\r\n\r\n${text}\r\n${filling}`);
    const { reply } = await client.send({ from: "", to: [`${box}@${domain}`] }, mail);
    if (reply.code !== 421) await client.quit();
    return reply;
  } finally {
    client.destroy();
  }
}

test("S25: one disk full, then two of three, then space again", async (context) => {
  const disks = [SmallDisk.mount(context, "24m"), SmallDisk.mount(context, "24m")];
  const ring = await scope.start({
    members: 3,
    replicas: 2,
    place: (index) => {
      const disk = disks[index];
      return disk ? { dataDir: `${disk.folder}/data` } : {};
    },
  });
  await ring.addUsers([ownBox, largeBox]);
  const load = await startLoad(ring);
  const pids = ring.members.map(({ pid }) => pid);
  const [first, second, third] = [ring.member(0), ring.member(1), ring.member(2)];

  disks[0]?.fill();
  // Two of three copies can be made, whoever is asked.
  await load.progress(some, "with one full disk");
  for (const member of [second, third]) {
    await answers(250, () => send(member, `one full, to ${member.id}`));
  }
  // A mail that has to be spooled can't be taken at a full disk; elsewhere it can.
  const large = { box: largeBox, octets: 1_000_000 };
  await answers(452, () => send(first, "large", large));
  await answers(250, () => send(third, "large elsewhere", large));

  disks[1]?.fill();
  const refused = await refusals([first, second, third]);
  expect(refused[0]).toMatch(/^452 4\.3\.1 /);
  expect(refused[1]).toMatch(/^452 4\.3\.1 /);
  expect(refused[2]).toMatch(/^45[12] 4\.3\.\d /);
  // What is there is served everywhere, and nothing of what was refused.
  for (const member of ring.members) {
    expect(await subjectsAt(member)).toEqual([
      `one full, to ${second.id}`,
      `one full, to ${third.id}`,
    ]);
    for (const box of kept) await fetched(member, box);
  }

  for (const disk of disks) disk.free();
  await load.progress(some, "with space again");
  for (const member of ring.members) {
    await answers(250, () => send(member, "again"));
  }
  expect(ring.members.map(({ pid, running }) => running && pid)).toEqual(pids);
  await checkPromises(ring, load);
  await ring.copiesEqual([ownBox, largeBox], { copies: 3 });
  for (const { pop3 } of ring.members) {
    expect(await fetchAll(pop3, largeBox, password)).toHaveLength(1);
  }
}, 300_000);

/** Waits until the answer is `code`. On a busy machine any answer may be "try again later" first. */
async function answers(code: 250 | 452, ask: () => Promise<SmtpReply>): Promise<void> {
  await waitUntil(
    async () => {
      const reply = await ask();
      if (reply.code === code) return true;
      expect(reply.lines.join()).toMatch(/^451 /);
      throw new Error(reply.lines.join());
    },
    { deadlineMs: 60_000, what: `an answer of ${code}` },
  );
}

/** All mails of a box. Logins, too, may be told to come again on a busy machine. */
function fetched(member: Member, box: string): Promise<FetchedMail[]> {
  return waitUntil(() => fetchAll(member.pop3, box, password), {
    deadlineMs: 60_000,
    what: `member ${member.id} to serve ${box}`,
  });
}

/** What each answers to small mails, once the last free octets are used up. */
async function refusals(members: readonly Member[]): Promise<string[]> {
  const lines: string[] = [];
  for (const member of members) {
    const reply = await waitUntil(
      async () => {
        const answer = await send(member, "refused", { octets: 20_000 });
        return answer.code === 250 ? undefined : answer;
      },
      { deadlineMs: 60_000, what: `member ${member.id} to refuse mail`, everyMs: 10 },
    );
    lines.push(reply.lines.join());
  }
  return lines;
}

async function subjectsAt(member: Member): Promise<string[]> {
  return (await fetched(member, ownBox))
    .map(({ bytes }) => /^Subject: (.*)\r$/m.exec(bytes.toString("latin1"))?.[1] ?? "")
    .filter((subject) => subject !== "refused");
}
