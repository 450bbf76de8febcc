/** Tombstones of a queue are forgotten while a member is away that still has what was removed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type DataFrame, openPacket, readMail } from "../../src/ebm/index.js";
import { queueMailbox } from "../../src/mailbox/folders.js";
import { openStore } from "../../src/store/index.js";
import { quietLog } from "../../src/replication/testing.js";
import { broker, Device, sendToRing } from "../support/ebm-device.js";
import type { Member } from "../support/member.js";
import { Pop3Client } from "../support/pop3-client.js";
import { password, type Ring } from "../support/ring.js";
import { ringScope } from "../support/ring-scope.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope("test");
const floors = new URL("../../dist/src/replication/floors.js", import.meta.url);
/** As in a ring through which a thousand times as much passes. */
const often =
  `import { defaultFloorLimits } from ${JSON.stringify(floors.href)};` +
  "Object.assign(defaultFloorLimits, { tombstones: 20, lagMs: 1000, intervalMs: 300 });";
const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(often)}` };

class Passing {
  published = 0;
  readonly consumed: string[] = [];

  constructor(
    private readonly ring: Ring,
    private readonly alice: Device,
  ) {}

  /** As a client does: the same packet, through whichever member takes it. */
  async publish(count: number): Promise<string[]> {
    const frames = Array.from({ length: count }, (_, i): DataFrame => {
      const sequence = this.published + i + 1;
      const octets = Buffer.from(`m${sequence}`);
      return {
        ...{ kind: "data", stream: "main", sequence, id: `m-${sequence}`, offset: 0, octets },
        ...{ size: octets.length, properties: { sentAtMs: 0, routingKey: "work" } },
      };
    });
    await waitUntil(
      async () => {
        for (const member of this.ring.running) {
          const mail = this.alice.mail(this.alice.seal(frames), broker);
          const line = await sendToRing(member.smtp, mail, { to: broker }).catch(String);
          if (line.startsWith("250 2.0.0 ebm=taken")) return true;
        }
        return false;
      },
      { deadlineMs: 60_000, what: "the packet to be taken" },
    );
    this.published += count;
    return frames.map(({ octets }) => octets.toString());
  }

  /** One session that acknowledges all it is shown, if it says so. Answers what it was shown. */
  async consume(member: Member, isDone = true): Promise<readonly string[]> {
    const client = await Pop3Client.login(member.pop3, "alice/queue/work", password, 60_000);
    try {
      const mails = await client.all();
      const texts = mails.flatMap(({ bytes }) => {
        const { packet } = readMail(bytes);
        const { frames } = openPacket(packet ?? Buffer.alloc(0), Date.now());
        return frames.flatMap((frame) => (frame.kind === "data" ? [frame.octets.toString()] : []));
      });
      if (isDone) for (const [index] of mails.entries()) await client.expect(`DELE ${index + 1}`);
      await client.quit();
      return texts;
    } finally {
      client.destroy();
    }
  }

  async consumeAll(wanted: readonly string[], at: readonly Member[]): Promise<void> {
    const got: string[] = [];
    await waitUntil(
      async () => {
        for (const member of at) got.push(...(await this.consume(member).catch(() => [])));
        return wanted.every((text) => got.includes(text));
      },
      { deadlineMs: 60_000, what: "the messages to be consumed" },
    );
    this.consumed.push(...got);
  }
}

/** The highest floor in a member's journal, as the time of an id. */
function floorOf({ dataDir }: Member): number {
  const journal = join(dataDir, "journal");
  const texts = readdirSync(journal)
    .filter((name) => name.endsWith(".log"))
    .map((name) => readFileSync(join(journal, name), "latin1"));
  const raised = /"kind":"RaiseFloor","mailbox":"[^"]*","floor":\{"below":"([0-9a-f]{12})"/g;
  const times = texts.flatMap((text) => [...text.matchAll(raised)].map(([, time = "0"]) => time));
  return Math.max(0, ...times.map((time) => Number.parseInt(time, 16)));
}

const untilFloorsAbove = (members: readonly Member[], ms: number): Promise<unknown> =>
  waitUntil(() => members.every((member) => floorOf(member) > ms), {
    ...{ deadlineMs: 90_000, what: "the floor to rise" },
  });

test.each(["SIGSTOP", "SIGKILL"] as const)(
  "a member that was away (%s) while floors rose brings nothing back",
  async (signal) => {
    const args = ["--registration", "open"];
    const ring = await scope.start({
      ...{ members: 3, replicas: 2, args },
      place: () => ({ env }),
    });
    const alice = new Device("alice");
    await alice.start(ring.member(0), "register", password);
    await alice.ask(ring.member(0), password, "declareQueue", { name: "work" });
    const passing = new Passing(ring, alice);
    const [one, two, victim] = [ring.member(0), ring.member(1), ring.member(2)];

    // All three have these; the victim will not hear that they are consumed.
    const old = await passing.publish(30);
    await ring.settled();
    if (signal === "SIGKILL") await victim.kill();
    else process.kill(victim.pid, signal);
    const others = [one, two];
    await passing.consumeAll(old, others);
    const awayAtMs = Date.now();
    while (Math.min(...others.map(floorOf)) <= awayAtMs) {
      await passing.consumeAll(await passing.publish(15), others);
    }
    expect(floorOf(victim)).toBeLessThan(awayAtMs);

    if (signal === "SIGKILL") await victim.restart();
    else process.kill(victim.pid, "SIGCONT");
    await ring.settled();
    // At once, before it can have heard of the floor, and afterwards.
    passing.consumed.push(...(await passing.consume(victim)));
    await untilFloorsAbove([victim], awayAtMs);
    // Whoever leads, with whichever two.
    for (const gone of others) {
      await gone.kill();
      await passing.consumeAll(await passing.publish(1), ring.running);
      await gone.restart();
      await ring.settled();
    }
    // Each once: nothing came again, and nothing is lacking.
    const all = Array.from({ length: passing.published }, (_, i) => `m${i + 1}`);
    expect([...passing.consumed].sort()).toEqual(all.sort());
    await ring.stopAll();
    for (const { dataDir } of ring.members) {
      const store = await openStore({ directory: dataDir, log: quietLog });
      const { messages, tombstones } = await store.contents(queueMailbox("work", "ring.test"));
      await store.close();
      expect(messages).toEqual([]);
      // What would make the next floor, and what came last.
      expect(tombstones.length).toBeLessThan(80);
    }
  },
  180_000,
);
