/** A member that can't start says why, in one line, and leaves the ring as it was. */
import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { beforeAll, expect, test } from "vitest";
import { chord } from "../support/chord.js";
import type { Member } from "../support/member.js";
import type { Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { within } from "../support/wait.js";

const scope = ringScope("file");
let ring: Ring;
let epoch: number;

beforeAll(async () => {
  ring = await scope.start({ members: [2, 5], bits: 3 });
  epoch = (await ring.status()).rosterEpoch;
});

/** Starts a member that is to fail; returns its one line. */
async function refused(member: Member): Promise<string> {
  member.start();
  const exit = await within(member.exited, 30_000, "the refused member to end").finally(
    async () => {
      if (member.running) await member.kill("SIGKILL");
    },
  );
  expect(exit.code, member.tail(20)).toBeGreaterThan(0);
  const lines = member.stderr.split("\n").filter((line) => line !== "");
  expect(lines, member.tail(20)).toHaveLength(1);
  const status = await ring.status();
  expect(status.rosterEpoch).toBe(epoch);
  expect(status.members.map(({ id, state }) => [id, state]).sort()).toEqual([
    ["2", "active"],
    ["5", "active"],
  ]);
  return lines[0] ?? "";
}

test("R4: an id that a member has", async () => {
  const twin = await ring.make({ id: 5, dataDir: `${ring.folder}/data-twin` });
  expect(await refused(twin)).toMatch(/\bid\b.*5/i);
});

test("R5: another --bits", async () => {
  const other = await ring.make({ id: 1, bits: 4 });
  expect(await refused(other)).toMatch(/bits/);
});

test("R5: another --replicas", async () => {
  const other = await ring.make({ id: 1, args: ["--replicas", "1"] });
  expect(await refused(other)).toMatch(/replicas/);
});

test("K2: a second process on the same data", async () => {
  const dataDir = ring.member(0).dataDir;
  const second = await ring.make({ id: 2, dataDir });
  expect(await refused(second)).toContain(dataDir);
});

test.each([
  ["ring", 0],
  ["SMTP", 25],
  ["POP3", 110],
])("K1: the %s port is taken", async (_name, offset) => {
  const member = await ring.make({ id: 1, dataDir: `${ring.folder}/data-port-${offset}` });
  const port = Number(member.addr.split(":")[1]) + offset;
  const squatter = await listen(port);
  try {
    expect(await refused(member)).toContain(String(port));
  } finally {
    squatter.close();
  }
});

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

test.each([
  [["--id", "2", "--frobnicate"], /--frobnicate/],
  [["--id", "9", "--addr", "127.0.0.1:1", "--bits", "3"], /id.*9|9.*id/i],
  [["--id", "two", "--addr", "127.0.0.1:1", "--bits", "3"], /two/],
  [["--id", "2", "--addr", "nonsense", "--bits", "3"], /nonsense/],
  [["--id", "2", "--addr", "127.0.0.1:1", "--bits", "1000"], /1000/],
])("K1: chord %j", async (args, says) => {
  const dataDir = `${ring.folder}/data-unused`;
  mkdirSync(dataDir, { recursive: true });
  const result = await chord([...args, "--data", dataDir], { deadlineMs: 60_000 });
  expect(result.code).toBeGreaterThan(0);
  const lines = result.stderr.split("\n").filter((line) => line !== "");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(says);
});
