/** Every mail goes in through every node and comes out of every node as it was sent. */
import { beforeAll, describe, expect, test } from "vitest";
import { type CorpusMail, largeMail, nothingAtAll, smallMails } from "../support/corpus.js";
import { fetchers, type GotMail } from "../support/fetchers.js";
import { fetchAll } from "../support/pop3-client.js";
import { hasProgram, needProgram } from "../support/process.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { allSenders, type Sender, senders } from "../support/senders.js";
import { digestOf, senderBefore } from "../support/trace.js";

const scope = ringScope("file");
const from = `corpus@${domain}`;
let corpus: CorpusMail[];

beforeAll(async () => {
  corpus = await smallMails();
});

/** How often each corpus mail is in `got`; throws for anything that is none of them. */
function count(got: readonly GotMail[], mails: readonly CorpusMail[]): Map<string, number> {
  const counts = new Map<string, number>();
  // The longest first: one mail may be the end of another.
  const longestFirst = [...mails].sort((a, b) => b.bytes.length - a.bytes.length);
  for (const { bytes } of got) {
    const mail = longestFirst.find((candidate) => senderBefore(candidate.bytes, bytes) === from);
    if (mail === undefined) {
      const shown = JSON.stringify(bytes.toString("latin1").slice(0, 1_000));
      throw new Error(`not a mail that was sent: ${digestOf(bytes)} ${shown}`);
    }
    counts.set(mail.name, (counts.get(mail.name) ?? 0) + 1);
  }
  return counts;
}

/** Sends all mails through every member, each program taking its turn as sender. */
async function sendEverywhere(ring: Ring, name: string, mails: CorpusMail[]): Promise<void> {
  const programs = allSenders.filter(
    (sender: Sender) => sender.program === undefined || hasProgram(sender.program),
  );
  for (const [turn, member] of ring.members.entries()) {
    const shares = new Map<Sender, CorpusMail[]>(programs.map((program) => [program, []]));
    for (const [index, mail] of mails.entries()) {
      const program: Sender = programs[(index + turn) % programs.length] ?? senders.ours;
      const able = program.spoils?.(mail) === true ? senders.ours : program;
      shares.get(able)?.push(mail);
    }
    const to = `${name}@${domain}`;
    for (const [program, share] of shares) {
      await program.send({ smtp: member.smtp, from, to, mails: share });
    }
    await senders.ours.send({ smtp: member.smtp, from, to, mails: [nothingAtAll] });
  }
}

describe.each([3, 5])("a ring of %i", (size) => {
  let ring: Ring;

  beforeAll(async () => {
    ring = await scope.start({ members: size, replicas: 2 });
    await ring.addUsers(["corpus", "large"]);
    await sendEverywhere(ring, "corpus", corpus);
  });

  test("every mail comes out of every node, octet by octet, under the same UIDL", async () => {
    const expected = [...corpus, nothingAtAll];
    let uids: string | undefined;
    for (const [index, member] of ring.members.entries()) {
      const options = { pipelined: index % 2 === 1 };
      const got = await fetchAll(member.pop3, "corpus", password, options);
      const counts = count(got, expected);
      for (const { name } of expected) {
        expect(counts.get(name), `${name} at member ${member.id}`).toBe(size);
      }
      const here = got.map((mail) => mail.uid);
      expect(new Set(here).size).toBe(here.length);
      uids ??= here.join();
      expect(here.join(), `UIDLs of member ${member.id}`).toBe(uids);
    }
  });

  test.each([fetchers.python, fetchers.curl])("$name reads the same", async (program) => {
    needProgram({ skip: (note) => expect.fail(note) }, program.program);
    const expected = [...corpus, nothingAtAll];
    const member = ring.member(size - 1);
    const job = { pop3: member.pop3, user: `corpus@${domain}`, password };
    const counts = count(await program.fetch(job), expected);
    for (const { name } of expected) expect(counts.get(name), name).toBe(size);
  });

  test("a mail of 25 MB", async () => {
    const mail = largeMail();
    const job = { from, to: `large@${domain}`, mails: [mail] };
    await senders.ours.send({ ...job, smtp: ring.member(0).smtp });
    await senders.python.send({ ...job, smtp: ring.member(size - 1).smtp });
    for (const member of ring.members) {
      const got = await fetchAll(member.pop3, "large", password);
      expect(count(got, [mail]).get(mail.name)).toBe(2);
    }
  });
});
