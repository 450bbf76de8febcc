/**
 * npm run bench:sdk-failover [-- --trials 20]
 *
 * How long a program with the SDK waits when the member that it uses is killed: from `kill -9` until its
 * client has turned to another one, until its next message was taken, and until that was consumed. A ring of three
 * real processes on loopback. Needs a build.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect } from "../src/sdk/index.js";
import { password, Ring } from "../tests/support/ring.js";
import { Times } from "./client.js";
import { type Figure, table } from "./figures.js";

const { values } = parseArgs({ options: { trials: { type: "string", default: "20" } } });
const trials = Number(values.trials);
const goalMs = 1_000;
/** A message each so often, so that there is one under way when the member dies. */
const everyMs = 50;
/** A restarted member grants no locks for one lease. */
const restMs = 1_600;

const times = { turned: new Times(), accepted: new Times(), consumed: new Times() };
const ring = new Ring({ members: 3, replicas: 2 });

async function trial(round: number): Promise<void> {
  const victim = ring.member(round % 3);
  const servers = [victim, ...ring.others(victim)].map(({ addr }) => addr);
  const [sender, receiver] = await Promise.all([
    connect({ servers, account: { user: "sender", password } }),
    connect({ servers: servers.slice(1), account: { user: "receiver", password } }),
  ]);
  const reading = (async () => {
    for await (const message of receiver.inbox()) await message.ack();
  })();
  for (let n = 0; n < 10; n += 1) {
    await (await sender.send("receiver", `before ${n}`)).consumed;
    await sleep(everyMs);
  }
  let turned: (ms: number) => void = () => undefined;
  const hasTurned = new Promise<number>((resolve) => (turned = resolve));
  sender.on("failover", () => turned(performance.now()));
  const beganMs = performance.now();
  const killed = victim.kill("SIGKILL");
  await sleep(1);
  const receipt = await sender.send("receiver", "after");
  const since = (ms: number): number => ms - beganMs;
  await Promise.all([
    hasTurned.then((ms) => times.turned.add(since(ms))),
    receipt.accepted.then(() => times.accepted.add(since(performance.now()))),
    receipt.consumed.then(() => times.consumed.add(since(performance.now()))),
    killed,
  ]);
  await Promise.all([sender.close(), receiver.close(), reading]);
  await victim.restart();
  await ring.settled();
  await sleep(restMs);
}

function figuresOf(): Figure[] {
  return Object.entries(times).flatMap(([name, each]) =>
    (
      [
        ["median", 0.5],
        ["worst", 1],
      ] as const
    ).map(([what, share]) => ({
      ...{ name: `${name}, ${what}`, value: each.quantile(share), unit: "ms" },
      ...(name !== "consumed" && { goal: { kind: "atMost", value: goalMs } as const }),
    })),
  );
}

try {
  for (let n = 0; n < 3; n += 1) await ring.grow();
  await ring.addUsers(["sender", "receiver"]);
  for (let n = 0; n < trials; n += 1) {
    await trial(n);
    process.stderr.write(`sdk-failover: ${n + 1} of ${trials}\n`);
  }
  process.stdout.write(`${table(figuresOf())}\n`);
} finally {
  await ring.stopAll();
  ring.remove("everything");
}
