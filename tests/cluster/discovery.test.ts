/** A member that knows nothing but the LAN it is on. Each member has a network namespace of its own. */
import { expect, test } from "vitest";
import { discover, type FoundMember } from "../../src/sdk/discovery.js";
import { secretsFolder } from "../../src/secrets/index.js";
import { chord, chordOk } from "../support/chord.js";
import type { Member } from "../support/member.js";
import { Network } from "../support/netns.js";
import { domain } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope();

/** Datagrams may be lost on a busy machine: asked until so many answer. */
async function heard(count: number): Promise<readonly FoundMember[]> {
  for (let tries = 0; ; tries += 1) {
    const found = await discover({ domain, timeoutMs: 500 });
    if (found.length >= count || tries === 30) return found;
  }
}

/** The last line of a member that does not start. */
async function refusal(member: Member, extra: readonly string[]): Promise<string> {
  member.start(extra);
  await member.exited;
  return member.stderr;
}

test("a joiner finds its ring on the LAN, and needs a token all the same", async (context) => {
  const network = await Network.create(context, 4);
  const ring = await scope.start({ members: 1, place: (index) => network.place(index) });
  const [first, auto] = [ring.member(0), ["--entry", "auto"]];
  // Members that no ring names an entry for.
  const strangers = await scope.start({ members: 0, place: (index) => network.place(index + 2) });
  // Made while none of them runs, so without an entry.
  const stranger = async (index: number, id: number): Promise<Member> =>
    await strangers.make({ ...network.place(index), id });
  const joiner = await stranger(2, 20_000);
  const other = await stranger(1, 7);
  const last = await stranger(3, 30_000);
  const token = async (): Promise<readonly string[]> => {
    const credentials = ["--credentials", secretsFolder(first.dataDir)];
    return ["--token", (await chordOk(["token", "--entry", first.addr, ...credentials])).trim()];
  };

  expect(await refusal(joiner, auto)).toMatch(
    /10\.213\.\d+\.1:5000 is on another machine: run chord token there/,
  );
  expect(await refusal(joiner, [...auto, "--domain", "other.test"])).toMatch(
    /no member of a ring for other\.test answers on the LAN/,
  );
  joiner.start([...auto, ...(await token())]);
  await joiner.ready();
  strangers.members.push(joiner);
  // Who is a member comes back by what it knows, also where nobody can be discovered.
  await joiner.kill("SIGTERM");
  network.refuseMulticast(0);
  joiner.start(auto);
  await joiner.ready();

  // Through this machine's own end of the LAN; multicasts do not get to the first member any more.
  const found = await heard(2);
  expect(found.map(({ addr }) => addr).sort()).toEqual([first.addr, joiner.addr].sort());
  const told = found.find(({ addr }) => addr === first.addr);
  expect(told).toMatchObject({ smtp: first.smtp, pop3: first.pop3, bits: 16, replicas: 2 });

  // A second ring of the same domain: nobody is guessed.
  other.start();
  await other.ready();
  strangers.members.push(other);
  expect(await heard(3)).toHaveLength(3);
  const line = await refusal(last, auto);
  expect(line).toMatch(/2 rings for ring\.test answer on the LAN: .*--entry host:port/);
  for (const member of [first, other]) expect(line).toContain(member.addr);
  // The token says which.
  last.start([...auto, ...(await token())]);
  await last.ready();
  strangers.members.push(last);
  const { members } = await strangers.status(joiner);
  expect(members.map(({ id }) => id).sort()).toEqual([first.id, joiner.id, last.id].sort());
});

test("a member that is not to be discovered keeps silent", async (context) => {
  const network = await Network.create(context, 2);
  const ring = await scope.start({
    ...{ members: 2, args: ["--discovery", "off"] },
    place: (index) => network.place(index),
  });
  expect(await discover({ domain, timeoutMs: 1_500 })).toEqual([]);
  const { code, stderr } = await chord([
    ...["--addr", "127.0.0.1:4999", "--data", `${ring.folder}/none`, "--entry", "auto"],
  ]);
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/no member of a ring for ring\.test answers on the LAN/);
});
