/** Clocks are wrong by years: mail comes and goes as ever, and what is deleted stays deleted. */
import { expect, test } from "vitest";
import { WrongClock } from "../support/faketime.js";
import { fetchAll } from "../support/pop3-client.js";
import { domain, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { SmtpClient, sendMail } from "../support/smtp-client.js";
import { checkPromises, some, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";
import { stuff } from "../support/wire.js";

const scope = ringScope();
const years = 365;
const dayMs = 86_400_000;

/** A ring of three; the clock of the second member is wrong. */
async function ringWith(clock: WrongClock): Promise<Ring> {
  return await scope.start({
    members: 3,
    replicas: 2,
    place: (index) => (index === 1 ? { env: clock.env } : {}),
  });
}

/** What the second member writes into its Received line, so that nobody tests with a right clock. */
async function yearAt(ring: Ring, name: string): Promise<number> {
  const text = `${name} ${Math.random()}`;
  const mail = Buffer.from(`Subject: ${text}\r\n\r\nwhat year is it?\r\n`);
  await sendMail(ring.member(1).smtp, { from: "", to: [`${name}@${domain}`] }, mail);
  const mails = await fetchAll(ring.member(0).pop3, name, password);
  const served = mails.find(({ bytes }) => bytes.includes(text))?.bytes.toString("latin1") ?? "";
  return Number(/^Received: [^]*?;\s+\w+, \d+ \w+ (\d{4}) /m.exec(served)?.[1]);
}

const yearIn = (days: number): number => new Date(Date.now() + days * dayMs).getUTCFullYear();

for (const { wrong, before, after } of [
  { wrong: "ahead, then behind", before: 5 * years, after: -5 * years },
  { wrong: "behind, then ahead", before: -5 * years, after: 5 * years },
]) {
  test(`one clock is years ${wrong}`, async (context) => {
    const clock = WrongClock.install(context, before);
    const ring = await ringWith(clock);
    await ring.addUsers(["year"]);
    const load = await startLoad(ring);
    expect(await yearAt(ring, "year")).toBe(yearIn(before));
    clock.set(after);
    await load.progress(some, "after the clock jumped");
    expect(await yearAt(ring, "year")).toBe(yearIn(after));
    await ring.member(1).kill("SIGKILL");
    await load.progress(some, "without the member whose clock is wrong");
    await ring.member(1).restart();
    await load.progress(some, "with it again");
    await checkPromises(ring, load);
  }, 300_000);
}

/** Which member takes the first try, and which one the retry. */
const tries = [
  [0, 1],
  [1, 0],
  [1, 2],
  [0, 2],
] as const;

for (const { wrong, days } of [
  { wrong: "ahead", days: 5 * years },
  { wrong: "behind", days: -5 * years },
]) {
  test(`a retry is not doubled: one clock is years ${wrong}, and jumps`, async (context) => {
    const clock = WrongClock.install(context, days);
    const ring = await ringWith(clock);
    for (const [round, [first, second]] of tries.entries()) {
      for (const jump of [false, true]) {
        const name = `retry-${round}-${String(jump)}`;
        await ring.addUsers([name]);
        const mail = Buffer.from(`Message-ID: <${name}@test>\r\n\r\nonce is enough\r\n`);
        await sendAndVanish(ring, first, name, mail);
        if (jump) clock.set(-days);
        await sendMail(ring.member(second).smtp, { from: "", to: [`${name}@${domain}`] }, mail);
        const counts: number[] = [];
        for (const { pop3 } of ring.members) {
          counts.push((await fetchAll(pop3, name, password)).length);
        }
        expect.soft(counts, `${name}: ${first} then ${second}`).toEqual([1, 1, 1]);
        clock.set(days);
      }
    }
  }, 300_000);
}

/** The mail is stored, but the client's connection is lost before it reads that. */
async function sendAndVanish(ring: Ring, at: number, name: string, mail: Buffer): Promise<void> {
  const client = await SmtpClient.connect(ring.member(at).smtp);
  await client.expect(250, "MAIL FROM:<>");
  await client.expect(250, `RCPT TO:<${name}@${domain}>`);
  await client.expect(354, "DATA");
  client.wire.write(stuff(mail));
  await waitUntil(async () => (await fetchAll(ring.member(0).pop3, name, password)).length === 1, {
    deadlineMs: 60_000,
    what: "the mail to be stored",
  });
  client.wire.reset();
}
