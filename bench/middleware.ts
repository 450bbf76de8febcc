/**
 * npm run bench:middleware [-- --quick] [-- --only rabbitmq,ring]
 *
 * Messages of 1 KiB from a publisher to 1, 10 and 100 subscribers: through a ring of three by the SDK, and
 * beside it through RabbitMQ (quorum queues on one node, persistent messages, confirms). Needs a build.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { connect } from "../src/sdk/index.js";
import { type RabbitMq, rabbitMissing, startRabbitMq } from "../tests/support/rabbitmq.js";
import { password, Ring } from "../tests/support/ring.js";
import { countingProxy } from "./counting-proxy.js";
import { type Figure, table } from "./figures.js";
import { messageOctets, MessageRun, messageOf, type RunResult } from "./message-run.js";

const { values } = parseArgs({
  options: { quick: { type: "boolean", default: false }, only: { type: "string" } },
});
const deadlineMs = 120_000;
const pollMs = 250;
const figures: Figure[] = [];

function put(figure: Figure): void {
  figures.push(figure);
  process.stderr.write(`bench: ${figure.name}: ${figure.value} ${figure.unit} ${figure.note}\n`);
}

/** Fewer where each is copied often. */
const messagesFor = (subscribers: number): number =>
  Math.max(200, Math.floor((values.quick ? 2_000 : 40_000) / subscribers));

function putRun(
  name: string,
  result: RunResult,
  goals: { perSecond?: number; p99Ms?: number },
): void {
  const { perSecond, p50Ms, p99Ms, messages } = result;
  const atLeast = goals.perSecond;
  put({
    ...{ name, value: Math.round(perSecond), unit: "messages/s", note: `${messages} messages` },
    ...(atLeast !== undefined && { goal: { kind: "atLeast" as const, value: atLeast } }),
  });
  const atMost = goals.p99Ms;
  put({
    ...{ name: `${name}, latency`, value: Math.round(p99Ms * 10) / 10, unit: "ms p99" },
    note: `p50 ${p50Ms.toFixed(1)} ms`,
    ...(atMost !== undefined && { goal: { kind: "atMost" as const, value: atMost } }),
  });
}

const named = (who: string, subscribers: number): string =>
  `${who}, ${subscribers} subscriber${subscribers === 1 ? "" : "s"}`;

async function measureRabbit(
  rabbit: RabbitMq,
  subscribers: number,
  inFlight: number,
): Promise<void> {
  const messages = messagesFor(subscribers);
  const run = new MessageRun(messages, subscribers);
  const [publishing, consuming] = await Promise.all([rabbit.connect(), rabbit.connect()]);
  const channel = await publishing.createConfirmChannel();
  const exchange = `bench.${subscribers}.${inFlight}`;
  await channel.assertExchange(exchange, "fanout");
  for (let n = 0; n < subscribers; n += 1) {
    const queue = `${exchange}.${n}`;
    await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum" } });
    await channel.bindQueue(queue, exchange, "");
    const consumer = await consuming.createChannel();
    await consumer.prefetch(1_000);
    await consumer.consume(queue, (message) => {
      if (message === null) return;
      run.note(message.content);
      consumer.ack(message);
    });
  }
  await run.publish(
    inFlight,
    (n) =>
      new Promise((resolve, reject) => {
        channel.publish(exchange, "", messageOf(n), { persistent: true }, (error) =>
          error ? reject(error as Error) : resolve(),
        );
      }),
  );
  putRun(
    `${named(rabbit.name, subscribers)}, ${inFlight} in flight`,
    await run.result(deadlineMs),
    {},
  );
  for (let n = 0; n < subscribers; n += 1) await channel.deleteQueue(`${exchange}.${n}`);
  await Promise.all([publishing.close(), consuming.close()]);
}

async function measureRing(ring: Ring, subscribers: number): Promise<void> {
  const messages = messagesFor(subscribers);
  const run = new MessageRun(messages, subscribers);
  const { smtp, submission, pop3 } = ring.entry;
  const [sends, submits, fetches] = await Promise.all([smtp, submission, pop3].map(countingProxy));
  if (!sends || !submits || !fetches) throw new Error("no proxies");
  const proxies = [sends, submits, fetches];
  const at = { smtp: sends.addr, submission: submits.addr, pop3: fetches.addr };
  const poll = { maxMs: pollMs };
  const options = { servers: [at], account: { user: "tester", password }, poll };
  const publisher = await connect(options);
  const event = `bench.${subscribers}`;
  const exchange = await publisher.exchange(event, "fanout");
  const working: Promise<void>[] = [];
  // Of one user the ring believes 16 programs.
  const programs = Array.from({ length: Math.min(subscribers, 8) }, () => connect(options));
  const consumers = await Promise.all(programs);
  await Promise.all(
    Array.from({ length: subscribers }, async (_, n) => {
      const client = consumers[n % consumers.length] ?? publisher;
      const queue = await client.queue(`${event}.${n}`, { exclusive: true });
      await queue.bind(event);
      const consumer = queue.consume({ prefetch: 1_000 });
      const work = async (): Promise<void> => {
        let acked = 0;
        for await (const delivery of consumer) {
          run.note(delivery.bytes);
          await delivery.ack();
          if (++acked === messages) return;
        }
      };
      const worked = work();
      // Also told of when the figures come too late to ask for it.
      worked.catch(() => undefined);
      working.push(worked);
    }),
  );
  for (const proxy of proxies) proxy.reset();
  await run.publish(1_000, async (n) => {
    await (await exchange.publish(messageOf(n))).delivered;
  });
  const name = named("ring of three", subscribers);
  putRun(name, await run.result(deadlineMs), {
    ...(subscribers === 1 && { perSecond: 5_000 }),
    p99Ms: 2 * pollMs,
  });
  // Settlements are mails, too: all that the clients hand in counts.
  const mails = (sends.mails + submits.mails) / messages;
  const octets = proxies.reduce((sum, proxy) => sum + proxy.octets, 0);
  const useful = messages * (1 + subscribers) * messageOctets;
  put({
    ...{ name: `${name}, mails per message`, value: mails, unit: "mails" },
    ...{ goal: { kind: "atMost" as const, value: 0.1 }, note: "publishing and settling" },
  });
  put({
    ...{ name: `${name}, overhead`, value: octets / useful - 1, unit: "octets/octet" },
    note: "SMTP and POP3, both directions, beyond the messages",
  });
  await Promise.all(working);
  await Promise.all([publisher, ...consumers].map((client) => client.drain()));
  for (const proxy of proxies) proxy.close();
}

const wanted = new Set(values.only?.split(",") ?? ["rabbitmq", "ring"]);
const counts = [1, 10, 100];
try {
  if (wanted.has("rabbitmq")) {
    const missing = rabbitMissing();
    if (missing !== undefined) throw new Error(`${missing}; --only ring measures the other`);
    const rabbit = await startRabbitMq();
    try {
      for (const inFlight of [64, 1_000]) {
        for (const count of counts) await measureRabbit(rabbit, count, inFlight);
      }
    } finally {
      await rabbit.stop();
    }
  }
  if (wanted.has("ring")) {
    const ring = new Ring({ members: 3, replicas: 2 });
    try {
      for (let n = 0; n < 3; n += 1) await ring.grow();
      await ring.addUsers(["tester"]);
      for (const count of counts) await measureRing(ring, count);
    } finally {
      await ring.stopAll();
      ring.remove("everything");
    }
  }
} finally {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "?"}`;
  const head = `Node ${process.version}, ${machine}, messages of ${messageOctets} octets`;
  process.stdout.write(`\n${head}${values.quick ? ", --quick" : ""}\n\n${table(figures)}\n`);
}
