import { beforeEach, expect, test } from "vitest";
import { ManualClock, quietLog } from "../../replication/testing.js";
import { lineLimits } from "./limits.js";
import { Watch, type Watched } from "./watch.js";

let clock: ManualClock;
let watch: Watch;
let lines: [string, object][];

beforeEach(() => {
  clock = new ManualClock();
  lines = [];
  const info = (fields: object, message: string): void => void lines.push([message, fields]);
  watch = new Watch({ clock, log: { ...quietLog, info } });
});

const ofAnn = (packet: number, client = "192.0.2.1"): Watched => ({
  ...{ part: "broker", client, user: "ann@ring.test", device: "d1", packet },
});
const ok = { code: 250, status: "2.0.0", text: "ebm=taken n=7 routed=1 stored=2/3" } as const;
const early = { code: 451, status: "4.3.0", text: "ebm=early secret-project:3" } as const;
const busy = { code: 451, status: "4.7.0", text: "ebm=throttled too many" } as const;

const answer = async (packet: number, reply: Parameters<Watch["end"]>[1], afterMs: number) => {
  const mail = ofAnn(packet);
  watch.begin(mail);
  await clock.advance(afterMs);
  watch.end(mail, reply);
};

test("what is answered soon is not worth a line", async () => {
  for (let n = 1; n <= 20; n += 1) await answer(n, ok, 900);
  expect(lines).toEqual([]);
});

test("who waits for long is named while they wait, once, and when they have their answer", async () => {
  const mail = ofAnn(7);
  watch.begin(mail);
  mail.operation = "settle";
  for (let n = 0; n < 8; n += 1) await clock.advance(5_000);
  const who = { ...ofAnn(7), operation: "settle" };
  expect(lines).toEqual([["a mail to the ring has no answer yet", { ...who, waitedMs: 10_000 }]]);
  watch.end(mail, ok);
  expect(lines.slice(1)).toEqual([
    ["a mail to the ring was answered late", { ...who, reply: "ebm=taken", tookMs: 40_000 }],
  ]);
  // Looks again at what comes next, whatever was under way when it stopped.
  watch.begin(ofAnn(8));
  await clock.advance(5_000);
  await clock.advance(5_000);
  expect(lines.at(-1)).toMatchObject(["a mail to the ring has no answer yet", { packet: 8 }]);
});

test("that a packet is to come again is said, without the names of streams", async () => {
  await answer(3, early, 2_000);
  await answer(4, busy, 1);
  const message = "a mail to the ring is to come again";
  expect(lines).toEqual([
    [message, { ...ofAnn(3), reply: "ebm=early", tookMs: 2_000 }],
    [message, { ...ofAnn(4), reply: "ebm=throttled", tookMs: 1 }],
  ]);
});

test("who is sent away all the time fills no log, and hides nobody who waits", async () => {
  for (let n = 1; n <= 100; n += 1) await answer(n, early, 1);
  expect(lines).toHaveLength(lineLimits.perNetwork);
  watch.begin(ofAnn(101));
  await clock.advance(5_000);
  await clock.advance(5_000);
  expect(lines.at(-1)).toMatchObject(["a mail to the ring has no answer yet", { packet: 101 }]);
});
