/** The commands that ask a running member, against members that are made up. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  AdminError,
  type Copying,
  type DepartureReply,
  type LocateReply,
  type MemberStatus,
  type StatusReply,
} from "../shared/admin.js";
import { main } from "./main.js";
import { type FakeMember, fakeWorld } from "./testing.js";

const home = "127.0.0.1:5000";
const folder = mkdtempSync(join(tmpdir(), "ringpost-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function member(id: string, addr: string, more: Partial<MemberStatus> = {}): MemberStatus {
  return {
    ...{ id, addr, uuid: `uuid-${id}`, state: "active", predecessor: "0", successors: ["5", "2"] },
    ...{ fingers: [], keysOwned: 3, keysCopied: 7, messages: 12, rosterEpoch: 4 },
    ...more,
  };
}

const ring: StatusReply = {
  ring: { bits: 3, replicas: 2, domain: "ring.test" },
  rosterEpoch: 4,
  members: [member("5", "b:1"), member("2", home)],
  copies: { wanted: 3, keys: 10, byCopies: [0, 0, 0, 10], withoutQuorum: 0, complete: true },
  notices: [],
};

const still: Copying = {
  ...{ mailboxes: 1, mailboxesTotal: 2, messages: 30, messagesTotal: 90 },
  ...{ octets: 1_048_576, octetsTotal: 3_145_728, seconds: 3 },
};
const gone: DepartureReply = { done: true, copying: still, waitingFor: [] };
const underWay: DepartureReply = { ...gone, done: false };

async function run(argv: readonly string[], options: Parameters<typeof fakeWorld>[0] = {}) {
  const world = fakeWorld(options);
  const code = await main(argv, world);
  return { code, out: world.stdoutLines, err: world.stderrLines, calls: world.calls };
}

const at = (addr: string, answers: FakeMember) => ({ members: { [addr]: answers } });

describe("which member is asked", () => {
  const none = { userList: () => ({ users: ["a@ring.test"], complete: true }) };

  test("--entry, then RINGPOST_ENTRY, then 127.0.0.1:5000", async () => {
    const members = { "a:1": none, "b:2": none, [home]: none };
    const env = { RINGPOST_ENTRY: "b:2" };
    const list = ["user", "list"];
    const asked = async (...args: Parameters<typeof run>) => (await run(...args)).calls[0];
    expect(await asked([...list, "--entry", "A:1"], { members, env })).toMatch(/^a:1 /);
    expect(await asked(list, { members, env })).toMatch(/^b:2 /);
    expect(await asked(list, { members })).toMatch(/^127\.0\.0\.1:5000 /);
  });

  test("the first member of a chord up that runs in this directory", async () => {
    mkdirSync(join(folder, "data/up"), { recursive: true });
    const note = join(folder, "data/up/up.json");
    const members = { "c:3": none, [home]: none };
    writeFileSync(note, JSON.stringify({ pid: process.pid, members: ["c:3", "d:4"] }));
    expect((await run(["user", "list"], { members, cwd: folder })).calls[0]).toMatch(/^c:3 /);
    // The note of one that is gone is worth nothing; pids end at 2^22 on Linux.
    writeFileSync(note, JSON.stringify({ pid: 2 ** 22 + 1, members: ["c:3"] }));
    expect((await run(["user", "list"], { members, cwd: folder })).calls[0]).toMatch(/^127/);
  });

  test("nobody answers: which address, and how to start a ring", async () => {
    const { code, err } = await run(["status", "--entry", "a:1"]);
    expect(err).toEqual([
      "chord: no member can be reached at a:1: ECONNREFUSED; " +
        "start a ring with: chord up, or name a running member with --entry host:port",
    ]);
    expect(code).toBe(1);
  });

  test("a ring without a majority is not taken for a member that is not there", async () => {
    const failure = new AdminError("unavailable", "no majority answers; try again");
    const { code, err } = await run(["status"], at(home, { status: () => failure }));
    expect(err).toEqual(["chord: no majority answers; try again"]);
    expect(code).toBe(1);
  });
});

describe("user", () => {
  const added: FakeMember = {
    userAdd: () => ({ mailbox: "alice@ring.test" }),
    userPasswd: () => ({ mailbox: "alice@ring.test" }),
    userRemove: () => ({ mailbox: "alice@ring.test", aliases: [] }),
  };

  test.each([
    ["add", 'userAdd {"name":"alice","password":"wonder land"}', "alice@ring.test added"],
    [
      "passwd",
      'userPasswd {"name":"alice","password":"wonder land"}',
      "alice@ring.test has a new password",
    ],
  ])("%s reads the first line of stdin", async (verb, call, says) => {
    const stdin = "wonder land\r\nnot this\n";
    const argv = ["user", verb, "alice", "--password-stdin"];
    const { code, out, calls } = await run(argv, { ...at(home, added), stdin });
    expect(calls).toEqual([`${home} ${call}`]);
    expect(out).toEqual([says]);
    expect(code).toBe(0);
  });

  test.each([
    ["", /^chord: the password is empty; nothing was changed$/],
    ["\nsecond line", /is empty/],
    ["x".repeat(1_025), /is longer than 1024 octets/],
    ["x".repeat(1_000_000), /is longer than 1024 octets/],
    ["tab\tulator", /has a control character/],
  ])("add refuses the password %j", async (stdin, says) => {
    const argv = ["user", "add", "alice", "--password-stdin"];
    const { code, err, calls } = await run(argv, { ...at(home, added), stdin });
    expect(err).toHaveLength(1);
    expect(err[0]).toMatch(says);
    expect(calls).toEqual([]);
    expect(code).toBe(1);
  });

  test("add of a name that exists says so and what to do", async () => {
    const failure = new AdminError("exists", "there is an account alice already");
    const argv = ["user", "add", "alice", "--password-stdin"];
    const options = { ...at(home, { userAdd: () => failure }), stdin: "wonder land" };
    const { code, err } = await run(argv, options);
    expect(err).toEqual([
      "chord: the account alice exists already; to change its password: chord user passwd alice",
    ]);
    expect(code).toBe(1);
  });

  test("remove", async () => {
    const { out, calls } = await run(["user", "remove", "alice"], at(home, added));
    expect(calls).toEqual([`${home} userRemove {"name":"alice"}`]);
    expect(out).toEqual(["alice@ring.test removed"]);
  });

  test("list; one that may lack accounts says so", async () => {
    const users = ["a@ring.test", "b@ring.test"];
    const whole = await run(
      ["user", "list"],
      at(home, { userList: () => ({ users, complete: true }) }),
    );
    expect([whole.out, whole.err]).toEqual([users, []]);
    const part = await run(
      ["user", "list"],
      at(home, { userList: () => ({ users, complete: false }) }),
    );
    expect(part.out).toEqual(users);
    expect(part.err).toEqual(["too few members answered: accounts may be missing here"]);
  });
});

describe("session", () => {
  const session = { mailbox: "alice@ring.test", token: "a.b.c", expiresAtMs: Date.UTC(2030, 0, 1) };
  const answers: FakeMember = {
    sessionCreate: () => session,
    sessionRefresh: () => session,
    sessionRevoke: () => ({ mailbox: "alice@ring.test" }),
    sessionRotateKey: () => ({ kid: "k2" }),
  };

  test.each([
    ["create alice --password-stdin", 'sessionCreate {"name":"alice","password":" secret "}'],
    ["refresh", 'sessionRefresh {"token":"secret"}'],
  ])("%s prints the token alone to stdout", async (line, call) => {
    const options = { ...at(home, answers), stdin: " secret \r\n" };
    const { code, out, err, calls } = await run(["session", ...line.split(" ")], options);
    expect(calls).toEqual([`${home} ${call}`]);
    expect([out, err]).toEqual([["a.b.c"], ["alice@ring.test, until 2030-01-01T00:00:00.000Z"]]);
    expect(code).toBe(0);
  });

  test("refresh needs a token", async () => {
    const { code, err, calls } = await run(["session", "refresh"], at(home, answers));
    expect([code, err, calls]).toEqual([1, ["chord: there is no token on stdin"], []]);
  });

  test.each([
    ["revoke alice", 'sessionRevoke {"name":"alice"}', "all tokens of alice@ring.test are void"],
    ["rotate-key", 'sessionRotateKey {"dropOld":false}', /k2; earlier tokens are good until/],
    ["rotate-key --drop-old", 'sessionRotateKey {"dropOld":true}', /k2; all earlier .* void$/],
  ])("%s", async (line, call, says) => {
    const { out, calls } = await run(["session", ...line.split(" ")], at(home, answers));
    expect(calls).toEqual([`${home} ${call}`]);
    expect(out[0]).toMatch(says);
  });
});

describe("user app-password", () => {
  const line = { id: "0a1b2c3d", label: "my phone", createdAtMs: Date.UTC(2030, 0, 1) };
  const answers: FakeMember = {
    appPasswordAdd: () => ({ mailbox: "alice@ring.test", id: "0a1b2c3d", password: "aaaa-bbbb" }),
    appPasswordList: () => ({ appPasswords: [line] }),
    appPasswordRevoke: () => ({ mailbox: "alice@ring.test" }),
  };
  const app = (...args: string[]) => run(["user", "app-password", ...args], at(home, answers));

  test("add prints the password alone to stdout", async () => {
    const { out, err, calls } = await app("add", "alice", "my phone");
    expect(calls).toEqual([`${home} appPasswordAdd {"name":"alice","label":"my phone"}`]);
    expect(out).toEqual(["aaaa-bbbb"]);
    expect(err).toEqual(["for alice@ring.test, id 0a1b2c3d; it is not shown again"]);
  });

  test("list and revoke", async () => {
    expect((await app("list", "alice")).out).toEqual(["0a1b2c3d  2030-01-01  my phone"]);
    const { calls } = await app("revoke", "alice", "0a1b2c3d");
    expect(calls).toEqual([`${home} appPasswordRevoke {"name":"alice","id":"0a1b2c3d"}`]);
  });

  test("a verb that is none", async () => {
    const { code, err } = await app("remove", "alice");
    expect(code).toBe(2);
    expect(err[0]).toMatch(/no command "remove"; (did you mean|there are add, list, revoke)/);
  });
});

describe("status", () => {
  test("--json is the reply, one object", async () => {
    const { out } = await run(["status", "--json"], at(home, { status: () => ring }));
    expect(out).toHaveLength(1);
    expect(JSON.parse(out[0] ?? "")).toEqual(ring);
  });

  test("the table is in ring order; nothing is drawn into a pipe", async () => {
    const { out } = await run(["status"], at(home, { status: () => ring }));
    expect(out).toEqual([
      "ring.test: 2 members, 3 copies of everything, 2^3 ids, roster epoch 4",
      "id  address         state   next  owns  copies  mails",
      "2   127.0.0.1:5000  active  5        3       7     12",
      "5   b:1             active  5        3       7     12",
      "copies 3/3 for 100 % of keys",
      "All members answer.",
    ]);
  });

  test("what is degraded is said in words", async () => {
    const silent = member("5", "b:1", { state: "unreachable", successors: [] });
    const notices = ["member 5 at b:1 does not answer"];
    const reply = { ...ring, members: [member("2", home), silent], notices };
    const { out } = await run(["status"], at(home, { status: () => reply }));
    expect(out.slice(3)).toEqual([
      "5   b:1             unreachable           ?       ?      ?",
      "copies 3/3 for 100 % of keys",
      "! member 5 at b:1 does not answer",
    ]);
  });

  test("three members fit a terminal of 80 × 24, with 160 bits too", async () => {
    const ids = [1n << 159n, (1n << 160n) - 1n, 5n].map(String);
    const members = ids.map((id, index) =>
      member(id, `127.0.0.1:5000${index}`, { state: "unreachable", successors: ids }),
    );
    const reply = { ...ring, members, ring: { ...ring.ring, bits: 160 } };
    const { out } = await run(["status"], {
      ...at(home, { status: () => reply }),
      isTerminal: true,
    });
    expect(out.length).toBeLessThan(24);
    for (const line of out) expect([...line].length).toBeLessThanOrEqual(80);
    expect(out.join("\n")).toMatch(/○ 0x00000000…/);
  });
});

describe("locate and lookup", () => {
  const copy = {
    inGroup: true,
    answered: true,
    messages: 2,
    tombstones: 1,
    digest: "ab".repeat(16),
  };
  const found: LocateReply = {
    ...{ mailbox: "bob@ring.test", key: "6", account: "exists", equal: true },
    copies: [
      { ...copy, id: "2", addr: home },
      { ...copy, id: "5", addr: "b:1", inGroup: false },
    ],
  };

  test("locate", async () => {
    const { out, calls } = await run(["locate", "bob"], at(home, { locate: () => found }));
    expect(calls).toEqual([`${home} locate {"address":"bob"}`]);
    expect(out).toEqual([
      "bob@ring.test: the account exists; key 6",
      "member              role           mails  deleted  digest",
      "2 (127.0.0.1:5000)  group              2        1  abababababab",
      "5 (b:1)             former holder      2        1  abababababab",
      "All copies are equal.",
    ]);
  });

  test("locate says who is silent", async () => {
    const copies = [{ ...copy, id: "2", addr: home, answered: false }];
    const reply: LocateReply = { ...found, copies, equal: false, account: "undecided" };
    const { out } = await run(["locate", "bob"], at(home, { locate: () => reply }));
    expect(out[0]).toMatch(/too few members answer to tell whether the account exists/);
    expect(out.at(-1)).toBe(
      "! 2 (127.0.0.1:5000) did not answer; what it lacks is sent when it is back.",
    );
  });

  test("lookup shows the path", async () => {
    const [two, five] = [
      { id: "2", addr: home },
      { id: "5", addr: "b:1" },
    ];
    const reply = { key: "4", owner: five, path: [two, five], timeouts: 1 };
    const { out } = await run(["lookup", "4"], at(home, { lookup: () => reply }));
    expect(out).toEqual([
      "key 4 belongs to member 5 (b:1)",
      "path 2 (127.0.0.1:5000) → 5 (b:1)",
      "1 silent members were passed by on the way",
    ]);
  });
});

describe("leave and evict", () => {
  const begun = { id: "2", epoch: 5 };

  test("leave shows progress; when the member is gone, another one tells", async () => {
    let polls = 0;
    const leaver: FakeMember = {
      status: () => ring,
      leave: () => begun,
      leaveProgress: () => {
        polls += 1;
        if (polls > 1) return new AdminError("unavailable", `nobody at ${home}`);
        return underWay;
      },
    };
    const other: FakeMember = { leaveProgress: () => gone };
    const { code, out, err, calls } = await run(["leave"], {
      members: { [home]: leaver, "b:1": other },
    });
    expect(code).toBe(0);
    expect(err[1]).toBe("1 of 2 mailboxes, 30 of 90 mails, 1.0 MiB of 3.0 MiB copied, 10 mails/s");
    expect(out).toEqual(["member 2 has left the ring"]);
    expect(calls.slice(1)).toEqual([
      `${home} leave {}`,
      `${home} leaveProgress {"id":"2"}`,
      `${home} leaveProgress {"id":"2"}`,
      `b:1 leaveProgress {"id":"2"}`,
    ]);
  });

  test.each([["5"], ["0x5"], ["b:1"]])("evict %s --force", async (name) => {
    const lost = { keys: 10, withoutQuorum: 4, shareWithoutCopy: 0.002 };
    const answers: FakeMember = {
      status: () => ring,
      evict: () => ({ ids: ["5"], epoch: 6, lost }),
      leaveProgress: () => gone,
    };
    const { out, calls } = await run(["evict", name, "--force"], at(home, answers));
    expect(calls[1]).toBe(`${home} evict {"ids":["5"],"force":true}`);
    expect(out).toEqual([
      "member 5 is evicted (roster epoch 6); its copies are made anew",
      "! 4 of 10 keys had no majority of living copies: what only the evicted had is given up.",
      "! No copy is left of under 1 % of the circle: the mailboxes and accounts there are gone.",
      "Every key has all the copies that this ring can give it.",
    ]);
  });

  test("evict by the short id that status shows", async () => {
    const id = (0x1234abcdn << 128n).toString();
    const members = [member(id, "b:1"), member("2", home)];
    const reply = { ...ring, members, ring: { ...ring.ring, bits: 160 } };
    const answers: FakeMember = { status: () => reply, evict: () => ({ ids: [id], epoch: 6 }) };
    const { calls } = await run(["evict", "0x1234abcd…"], at(home, answers));
    expect(calls[1]).toBe(`${home} evict {"ids":["${id}"],"force":false}`);
  });

  test("evict of nobody names who there is", async () => {
    const { code, err, calls } = await run(["evict", "7"], at(home, { status: () => ring }));
    expect(err).toEqual([
      'chord: there is no member "7"; the members are 5 (b:1), 2 (127.0.0.1:5000)',
    ]);
    expect(calls).toHaveLength(1);
    expect(code).toBe(1);
  });
});

describe("chord token", () => {
  const token = { token: "rp1_abc", expiresAtMs: 1_000_000 };

  test("prints the token alone, and beside it until when", async () => {
    const asked: number[] = [];
    const members = {
      [home]: {
        tokenCreate: ({ ttlMs }: { ttlMs: number }) => {
          asked.push(ttlMs);
          return token;
        },
      },
    };
    const world = fakeWorld({ members });
    expect(await main(["token"], world)).toBe(0);
    expect(await main(["token", "--ttl", "10m"], world)).toBe(0);
    expect(asked).toEqual([3_600_000, 600_000]);
    expect(world.stdoutLines).toEqual(["rp1_abc", "rp1_abc"]);
    expect(world.stderrLines[0]).toBe("good once, until 1970-01-01T00:16:40.000Z");
  });
});

test("in whose name: --credentials, then RINGPOST_CREDENTIALS, then the member's that is asked", async () => {
  const members = { [home]: { status: () => ring } };
  const env = { RINGPOST_CREDENTIALS: "/env" };
  const named = fakeWorld({ members, env });
  await main(["status", "--credentials", "/flag"], named);
  await main(["status"], named);
  const local = fakeWorld({ members });
  await main(["status"], local);
  expect([...named.credentials, ...local.credentials]).toEqual(["/flag", "/env", ""]);
});
