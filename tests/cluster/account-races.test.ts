/** Two want the same name, or change the same password, while members die: one of them is right. */
import { expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { Pop3Client, Pop3Refused } from "../support/pop3-client.js";
import { admin, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { checkPromises, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();
/** Who looks which passwords work tries more wrong ones than a client may. */
const manyTries = ["--auth-tries", "1000", "--auth-tries-per-address", "1000"];

/** `unavailable`: the one who asked can't know whether it took place. */
type Answer = "done" | "exists" | "unavailable";

async function run(
  member: Member,
  method: "userAdd" | "userPasswd",
  name: string,
  secret: string,
): Promise<Answer> {
  try {
    await admin(member.addr, method, { name, password: secret });
    return "done";
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "exists" || code === "unavailable") return code;
    throw error;
  }
}

/** Whether the password opens the maildrop; waits while the member can't tell. */
function opens(member: Member, name: string, secret: string): Promise<boolean> {
  return waitUntil(
    async () => {
      try {
        const client = await Pop3Client.login(member.pop3, name, secret);
        await client.quit();
        return { yes: true };
      } catch (error) {
        if (error instanceof Pop3Refused && error.line.includes("[AUTH]")) return { yes: false };
        throw error;
      }
    },
    { deadlineMs: 60_000, what: `an answer of member ${member.id} to a login of ${name}` },
  ).then(({ yes }) => yes);
}

/** Which of `secrets` work, the same at every member. */
async function working(ring: Ring, name: string, secrets: readonly string[]): Promise<string[]> {
  const found: string[][] = [];
  for (const member of ring.running) {
    const works: string[] = [];
    for (const secret of secrets) if (await opens(member, name, secret)) works.push(secret);
    found.push(works);
  }
  for (const works of found) expect(works, name).toEqual(found[0]);
  return found[0] ?? [];
}

test("two nodes register the same names at the same instant, while members are killed", async () => {
  const ring = await scope.start({ members: 3, replicas: 2, args: manyTries });
  const load = await startLoad(ring);
  const [one, two, three] = [ring.member(0), ring.member(1), ring.member(2)];
  const secrets = ["secret one", "secret two"];
  const answers = new Map<string, readonly Answer[]>();
  const race = async (name: string, fault?: () => Promise<unknown>): Promise<void> => {
    const asked = [one, two].map((member, n) => run(member, "userAdd", name, secrets[n] ?? ""));
    const [first, second] = await Promise.all([...asked, fault?.()]);
    answers.set(name, [first as Answer, second as Answer]);
  };

  for (let n = 0; n < 5; n += 1) await race(`calm-${n}`);
  await race("third-dies", () => three.kill("SIGKILL"));
  for (let n = 0; n < 3; n += 1) await race(`without-third-${n}`);
  await three.restart();
  for (let n = 0; n < 3; n += 1) {
    // Killed in the middle of it.
    await race(`asker-dies-${n}`, () => two.kill("SIGKILL"));
    await two.restart();
    await ring.settled();
  }

  for (const [name, said] of answers) {
    const works = await working(ring, name, secrets);
    const winner = said.indexOf("done");
    const text = `${name}: ${said.join(", ")}`;
    expect(said.filter((answer) => answer === "done").length, text).toBeLessThanOrEqual(1);
    expect(works.length, text).toBeLessThanOrEqual(1);
    // Who was told that the name is taken was told the truth.
    if (said.includes("exists")) expect(works, text).toHaveLength(1);
    if (winner >= 0) expect(works, text).toEqual([secrets[winner]]);
    if (name.startsWith("calm")) expect(works, text).toHaveLength(1);
  }
  await checkPromises(ring, load);
}, 300_000);

test("passwords changed at two nodes at once: never an older one", async () => {
  const ring = await scope.start({ members: 3, replicas: 2, args: manyTries });
  const load = await startLoad(ring);
  await ring.addUsers(["changing"]);
  let before: readonly string[] = [password];
  const rounds = 6;
  for (let round = 0; round < rounds; round += 1) {
    const [first, second, third] = [0, 1, 2].map((n) => ring.member((round + n) % 3));
    if (!first || !second || !third) throw new Error("no members");
    const secrets = [`round ${round} first`, `round ${round} second`];
    const asked = [first, second].map((member, n) =>
      run(member, "userPasswd", "changing", secrets[n] ?? ""),
    );
    // In every other round a member dies meanwhile, one that was asked or the third one.
    const victim = round % 4 === 1 ? third : round % 4 === 3 ? second : undefined;
    const [said] = await Promise.all([Promise.all(asked), victim?.kill("SIGKILL")]);
    await victim?.restart();
    await ring.settled();
    const works = await working(ring, "changing", [...secrets, ...before]);
    const text = `round ${round}: ${said.join(", ")}; works: ${works.join(", ")}`;
    expect(works, text).toHaveLength(1);
    // Once one was acknowledged, no older one may work.
    if (said.includes("done")) expect(secrets, text).toContain(works[0]);
    before = [...secrets, ...before].slice(0, 4);
  }
  await checkPromises(ring, load);
}, 300_000);
