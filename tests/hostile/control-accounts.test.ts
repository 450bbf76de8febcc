/** Accounts that programs make and open by mail, from outside: who is let in, and how often one may guess. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { chord } from "../support/chord.js";
import { Device, sendToRing } from "../support/ebm-device.js";
import { admin, password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope("file");
/** Of each member another one. */
const policies = ["open", "token", "closed"];
let ring: Ring;
let alice: Device;

beforeAll(async () => {
  const place = (index: number) => ({ args: ["--registration", policies[index] ?? "closed"] });
  ring = await scope.start({ members: 3, replicas: 2, place });
  alice = new Device("alice");
  await alice.start(ring.member(0), "register", password);
}, 120_000);

const at = (node: number) => ring.member(node % 3);

describe("registration", () => {
  const register = (device: Device, node: number, invitation?: string): Promise<string> => {
    const more = invitation === undefined ? {} : { invitation };
    const ask = { password, record: device.record(), ...more };
    return sendToRing(at(node).smtp, device.question("register", ask).mail);
  };
  const exists = async (name: string): Promise<boolean> =>
    (await admin(ring.entry.addr, "userList", {})).users.includes(`${name}@ring.test`);

  test("is closed, open, or needs an invitation that is good once", async () => {
    const [one, two, three] = [new Device("one"), new Device("two"), new Device("three")];
    expect(await register(one, 2)).toMatch(/^550 5\.7\.1 ebm=closed .*chord user add/);
    expect(await register(one, 1)).toMatch(/^550 5\.7\.1 ebm=closed .*chord invite/);
    const guess = `rpi_${randomBytes(32).toString("base64url")}`;
    expect(await register(one, 1, guess)).toMatch(/ebm=closed .*does not know/);
    expect(await exists("one")).toBe(false);
    const made = await chord(["invite", "--entry", at(2).addr, "--ttl", "10m"]);
    const invitation = made.stdout.toString().trim();
    // Not used up by a name that somebody has.
    expect(await register(new Device("alice"), 1, invitation)).toMatch(/ebm=exists/);
    const lines = await Promise.all([register(one, 1, invitation), register(two, 0, invitation)]);
    expect(lines.filter((line) => line.startsWith("250 2.0.0 ebm=ok"))).toHaveLength(1);
    expect(lines.filter((line) => /ebm=closed .*used already/.test(line))).toHaveLength(1);
    expect(await register(three, 1, invitation)).toMatch(/ebm=closed .*used already/);
    expect(await exists("three")).toBe(false);
    expect([await exists("one"), await exists("two")].filter(Boolean)).toHaveLength(1);
  });

  test("of one name at two nodes at once succeeds once", async () => {
    const made = await chord(["invite", "--entry", at(0).addr, "--count", "3"]);
    const invitations = made.stdout.toString().trim().split("\n");
    expect(invitations).toHaveLength(3);
    const devices = [new Device("wanted"), new Device("wanted"), new Device("wanted")];
    const isUndecided = (line: string): boolean => line.startsWith("451 4.3.0 ebm=undecided");
    let lines = await Promise.all(
      devices.map((device, n) => register(device, n % 2, invitations[n])),
    );
    // Who met another one on the way is told to come again.
    for (let round = 0; round < 20 && lines.some(isUndecided); round += 1) {
      const again = devices.map((device, n) => {
        const line = lines[n] ?? "";
        return isUndecided(line) ? register(device, n % 2, invitations[n]) : line;
      });
      lines = await Promise.all(again);
    }
    const winners = devices.filter((_, n) => lines[n]?.startsWith("250 "));
    const losers = lines.filter((line) => /^550 5\.7\.1 ebm=exists/.test(line));
    expect(winners, lines.join("\n")).toHaveLength(1);
    expect(losers, lines.join("\n")).toHaveLength(2);
    const record = await alice.ask(at(2), password, "resolve", { user: "wanted@ring.test" });
    expect(record.devices.map(({ device }) => device)).toEqual([winners[0]?.device]);
  });

  test("again by the same program, whose reply got lost, is no other account", async () => {
    const gina = new Device("gina");
    expect(await register(gina, 0)).toMatch(/^250 /);
    expect(await register(gina, 0)).toMatch(/^250 /);
    expect(await register(new Device("gina"), 0)).toMatch(/^550 5\.7\.1 ebm=exists/);
  });

  test.each(["ring", "Alice", "ali\u0441e", "x".repeat(70)])(
    "of the name %s is refused",
    async (name) => {
      const device = new Device(name);
      const record = device.record({ addresses: ["hans@ring.test"] });
      const { mail } = device.question("register", { password, record });
      expect(await sendToRing(at(0).smtp, mail)).toMatch(/^550 5\.7\.1 ebm=malformed /);
    },
  );
});

test("passwords that are guessed by login count towards the ten of the account", async () => {
  const victim = new Device("victim");
  await victim.start(at(0), "register", password);
  const lines: string[] = [];
  for (let n = 0; n < 12; n += 1) {
    const guesser = new Device("victim");
    const ask = { password: `guess ${n}`, record: guesser.record() };
    lines.push(await sendToRing(at(n).smtp, guesser.question("login", ask).mail));
  }
  expect(
    lines.slice(0, 10).every((line) => /^550 5\.7\.1 ebm=denied/.test(line)),
    lines.join("\n"),
  ).toBe(true);
  expect(
    lines.slice(10).every((line) => /^451 4\.7\.0 ebm=throttled/.test(line)),
    lines.join("\n"),
  ).toBe(true);
  // The record of a guesser was never believed.
  const { devices } = await alice.ask(at(1), password, "resolve", { user: victim.user });
  expect(devices.map(({ device }) => device)).toEqual([victim.device]);
}, 120_000);
