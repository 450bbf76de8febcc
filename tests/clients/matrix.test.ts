/** Each program that sends against each that fetches, over a ring of three. */
import { beforeAll, describe, expect, test } from "vitest";
import { type CorpusMail, tameMails } from "../support/corpus.js";
import { allFetchers, type GotMail } from "../support/fetchers.js";
import { fetchAll } from "../support/pop3-client.js";
import { needProgram } from "../support/process.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { allSenders } from "../support/senders.js";
import { senderBefore } from "../support/trace.js";

const scope = ringScope("file");
const from = `matrix@${domain}`;
const box = (index: number): string => `box-${index}`;
let ring: Ring;
let mails: CorpusMail[];

beforeAll(async () => {
  mails = await tameMails();
  ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([...allSenders.map((_, index) => box(index)), "gone"]);
});

/** The names of the mails that `got` consists of, sorted; throws for one that is none of them. */
function names(got: readonly GotMail[]): string[] {
  const found = got.map(({ bytes }) => {
    const mail = mails.find((candidate) => senderBefore(candidate.bytes, bytes) === from);
    if (mail === undefined) throw new Error(`changed: ${JSON.stringify(bytes.toString("latin1"))}`);
    return mail.name;
  });
  return found.sort();
}

describe.each(allSenders.map((sender, index) => ({ ...sender, index })))(
  "sent by $name",
  ({ send, program, spoils, index }) => {
    const user = box(index);
    const share = (): CorpusMail[] => mails.filter((mail) => spoils?.(mail) !== true);

    test("is accepted", async (context) => {
      if (program !== undefined) needProgram(context, program);
      expect(share().length).toBeGreaterThanOrEqual(4);
      const smtp = ring.member(index % 3).smtp;
      await send({ smtp, from, to: `${user}@${domain}`, mails: share() });
    });

    test.each(allFetchers)("and fetched by $name", async (fetcher) => {
      const context = { skip: (note?: string) => expect.fail(note) };
      if (program !== undefined) needProgram(context, program);
      if (fetcher.program !== undefined) needProgram(context, fetcher.program);
      const pop3 = ring.member((index + 1) % 3).pop3;
      const got = await fetcher.fetch({ pop3, user, password });
      expect(names(got)).toEqual(
        share()
          .map((mail) => mail.name)
          .sort(),
      );
    });
  },
);

test.each(allFetchers.filter((fetcher) => fetcher.deletes))(
  "$name fetches and deletes",
  async (fetcher) => {
    if (fetcher.program !== undefined) {
      needProgram({ skip: (note) => expect.fail(note) }, fetcher.program);
    }
    const [first, second, third] = [ring.member(0), ring.member(1), ring.member(2)];
    const [send] = allSenders.map((sender) => sender.send);
    await send?.({ smtp: first.smtp, from, to: `gone@${domain}`, mails });
    const got = await fetcher.fetch({ pop3: second.pop3, user: "gone", password, delete: true });
    expect(got).toHaveLength(mails.length);
    for (const member of [first, second, third]) {
      expect(await fetchAll(member.pop3, "gone", password)).toEqual([]);
    }
  },
);

test.each(allFetchers.filter((fetcher) => fetcher.tameOnly !== true))(
  "$name finds an empty maildrop empty",
  async (fetcher) => {
    const pop3 = ring.member(2).pop3;
    expect(await fetcher.fetch({ pop3, user: `gone@${domain}`, password })).toEqual([]);
  },
);
