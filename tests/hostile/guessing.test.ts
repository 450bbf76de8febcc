/** Passwords are guessed through every node at once: the ring counts as one (S35, P9; POP3's part). */
import { beforeAll, expect, test } from "vitest";
import type { Member } from "../support/member.js";
import { Pop3Client } from "../support/pop3-client.js";
import { admin, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { waitUntil } from "../support/wait.js";

const allowed = 10;
const scope = ringScope("file");
let ring: Ring;

beforeAll(async () => {
  // The limit is the default; only the window is shorter, so that its end can be waited for.
  ring = await scope.start({ members: 3, replicas: 2, args: ["--auth-window", "60"] });
});

/** The reply to PASS. */
async function login(member: Member, name: string, secret: string): Promise<string> {
  const client = await Pop3Client.connect(member.pop3, 60_000);
  try {
    await client.expect(`USER ${name}`);
    const { line } = await client.command(`PASS ${secret}`);
    if (line.startsWith("+OK")) await client.quit();
    return line;
  } finally {
    client.destroy();
  }
}

const isChecked = (line: string): boolean => line.startsWith("-ERR [AUTH]");
const isRefused = (line: string): boolean => line.startsWith("-ERR [SYS/TEMP]");

/** Thirty different guesses, ten through each node. */
function guess(name: string): Promise<string[]> {
  const guesses = Array.from({ length: 30 }, (_, n) =>
    login(ring.member(n % 3), name, `guess ${n}`),
  );
  return Promise.all(guesses);
}

test("S35: of thirty guesses through three nodes, ten are checked at the most", async () => {
  await ring.addUsers(["target"]);
  const lines = await guess("target");
  const checked = lines.filter(isChecked).length;
  expect(checked, lines.join("\n")).toBeLessThanOrEqual(allowed);
  expect(checked).toBeGreaterThan(0);
  expect(lines.filter(isRefused)).toHaveLength(lines.length - checked);
}, 120_000);

test("S35: eleven guesses one after the other, each at another node", async () => {
  await ring.addUsers(["patient"]);
  const lines: string[] = [];
  for (let n = 0; n < allowed + 1; n += 1) {
    lines.push(await login(ring.member(n % 3), "patient", "the same wrong one"));
  }
  expect(lines.slice(0, allowed).every(isChecked), lines.join("\n")).toBe(true);
  expect(lines.slice(allowed).every(isRefused), lines.join("\n")).toBe(true);
  // Not even the right one is checked now, at any node; when the window is over it is.
  for (const member of ring.members) {
    expect(isRefused(await login(member, "patient", password))).toBe(true);
  }
  await waitUntil(
    async () => (await login(ring.member(1), "patient", password)).startsWith("+OK"),
    {
      ...{ deadlineMs: 120_000, everyMs: 1_000 },
      what: "the right password to be checked again",
    },
  );
}, 300_000);

test("P9: of a user that is not there the replies are the same", async () => {
  await ring.addUsers(["somebody"]);
  const dialogue = async (name: string): Promise<string[]> => {
    const lines: string[] = [];
    for (let n = 0; n < allowed + 2; n += 1) lines.push(await login(ring.member(n % 3), name, "x"));
    // How long it is until the first try is forgotten goes by when that was, not by the name.
    return lines.map((line) => line.replace(/\d+ s$/, "… s"));
  };
  const lines = await dialogue("somebody");
  expect(lines.filter(isChecked)).toHaveLength(allowed);
  expect(await dialogue("nobody-at-all")).toEqual(lines);
}, 300_000);

test("a client that was there before the guessing goes on, and so does an app password", async () => {
  await ring.addUsers(["owner"]);
  const member = ring.member(0);
  const added = await admin(member.addr, "appPasswordAdd", { name: "owner", label: "phone" });
  expect(await login(member, "owner", password)).toMatch(/^\+OK/);
  await guess("owner");
  expect(isRefused(await login(ring.member(2), "owner", password))).toBe(true);
  expect(await login(member, "owner", password)).toMatch(/^\+OK/);
  for (const any of ring.members)
    expect(await login(any, "owner", added.password)).toMatch(/^\+OK/);
}, 120_000);
