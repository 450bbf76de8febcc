/**
 * npm run bench:middleware [-- --quick] [-- --only rabbitmq,ring] [-- --subscribers 1,10] [-- --copies 20000]
 *
 * Messages of 1 KiB from a publisher to 1, 10 and 100 subscribers: through a ring of three by the SDK, and
 * beside it through RabbitMQ (quorum queues on one node, persistent messages, confirms). Publisher and consumers
 * are a process each. A tenth as many messages go ahead of those that are measured. Needs a build.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { endWithUs } from "../tests/support/process.js";
import { type RabbitMq, rabbitMissing, startRabbitMq } from "../tests/support/rabbitmq.js";
import { password, Ring } from "../tests/support/ring.js";
import { within } from "../tests/support/wait.js";
import { countingProxy } from "./counting-proxy.js";
import { type Figure, table } from "./figures.js";
import { messageOctets, type Round } from "./message-run.js";
import type { Task, Told } from "./middleware-program.js";
import { groupProcessorSeconds, processorSeconds } from "./processor-time.js";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    subscribers: { type: "string", default: "1,10,100" },
    /** Messages times subscribers, about. */
    copies: { type: "string" },
  },
});
const deadlineMs = 360_000;
const pollMs = 250;
/** Published and not confirmed. */
const windows = [64, 1_000];
const account = { user: "tester", password };
const figures: Figure[] = [];

function put(figure: Figure): void {
  figures.push(figure);
  const { name, value, unit, note = "" } = figure;
  process.stderr.write(`bench: ${name}: ${value} ${unit} ${note}\n`);
}

/** Fewer where each is copied often. */
const messagesFor = (subscribers: number): number =>
  Math.max(200, Math.floor(Number(values.copies ?? (values.quick ? 2_000 : 40_000)) / subscribers));

interface Measured extends Required<Told> {
  readonly perSecond: number;
  /** Seconds of the processor per 1,000 messages, by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

async function answerOf(child: ChildProcess, what: string): Promise<unknown> {
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`${what} ended`)));
  const [message] = (await within(
    Promise.race([once(child, "message"), ended]),
    deadlineMs,
    what,
  )) as [unknown];
  return message;
}

/** Before it is measured: what runs for the first time is slow, at a broker of any kind. */
const warmUpFor = (messages: number): number => Math.max(100, Math.floor(messages / 10));

/** One publisher and the consumers, from the first message to the last copy. */
async function measure(
  { messages, ...task }: Omit<Task, "role">,
  serverSeconds: () => Readonly<Record<string, number>>,
): Promise<Measured> {
  const programs = (["consume", "publish"] as const).map((role) => {
    const child = fork(join(import.meta.dirname, "middleware-program.ts"), {
      execArgv: ["--import", "tsx"],
    });
    endWithUs(child);
    return { role, child };
  });
  try {
    const warmUp = { number: 0, messages: warmUpFor(messages) };
    for (const { role, child } of programs) {
      const ready = answerOf(child, `the program to ${role}`);
      child.send({ ...task, messages: warmUp.messages + messages, role } satisfies Task);
      await ready;
    }
    const run = (round: Round): Promise<Told[]> =>
      Promise.all(
        programs.map(async ({ role, child }) => {
          const answer = answerOf(child, `the program to ${role}`);
          child.send(round);
          return (await answer) as Told;
        }),
      );
    await run(warmUp);
    const before = serverSeconds();
    const told = await run({ number: 1, messages });
    const after = serverSeconds();
    const [consumed, published] = told as [Required<Told>, Required<Told>];
    const per = 1_000 / messages;
    const servers = Object.entries(after).map(
      ([name, seconds]) => [name, (seconds - (before[name] ?? 0)) * per] as const,
    );
    const { beganMs } = published;
    return {
      ...consumed,
      beganMs,
      failovers: consumed.failovers + published.failovers,
      perSecond: messages / ((consumed.endedMs - beganMs) / 1_000),
      cpu: {
        publisher: published.cpuSeconds * per,
        consumers: consumed.cpuSeconds * per,
        ...Object.fromEntries(servers),
      },
    };
  } finally {
    await Promise.all(programs.map(({ child }) => ended(child)));
  }
}

/** Told to end, so that the next finds nothing of it; if it does not, ended. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.send("end");
  await within(exited, 60_000, "a program to end").catch(() => child.kill("SIGKILL"));
}

function putMeasured(
  name: string,
  { perSecond, p50Ms, p99Ms, cpu }: Measured,
  messages: number,
  goals: { perSecond?: number; p99Ms?: number } = {},
): void {
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
  const sum = Object.values(cpu).reduce((all, seconds) => all + seconds, 0);
  const byProcess = Object.entries(cpu).map(([who, seconds]) => `${who} ${seconds.toFixed(3)}`);
  put({
    ...{ name: `${name}, processor`, value: Math.round(sum * 1_000) / 1_000 },
    ...{ unit: "s per 1,000 messages", note: byProcess.join(", ") },
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
  const exchange = `bench.${subscribers}.${inFlight}`;
  const { url, group, name } = rabbit;
  const measured = await measure(
    { at: { url }, account, exchange, messages, subscribers, inFlight, pollMs },
    () => ({ broker: groupProcessorSeconds(group) }),
  );
  putMeasured(`${named(name, subscribers)}, ${inFlight} in flight`, measured, messages);
}

async function measureRing(ring: Ring, subscribers: number, inFlight: number): Promise<void> {
  const messages = messagesFor(subscribers);
  const { smtp, submission, pop3 } = ring.entry;
  const name = named("ring of three", subscribers);
  const common = { account, subscribers, inFlight, pollMs };
  const exchange = `bench.${subscribers}.${inFlight}`;
  const measured = await measure(
    { ...common, at: { smtp, submission, pop3 }, exchange, messages },
    () =>
      Object.fromEntries(
        ring.running.map(({ pid }, n) => [
          n === 0 ? "entry member" : `member ${n + 1}`,
          processorSeconds(pid),
        ]),
      ),
  );
  const isFull = inFlight === Math.max(...windows);
  putMeasured(`${name}, ${inFlight} in flight`, measured, messages, {
    ...(subscribers === 1 && isFull && { perSecond: 5_000 }),
    p99Ms: 2 * pollMs,
  });
  if (isFull) await countMails(name, ring, { ...common, exchange: `${exchange}.counted` });
}

/** In a run of its own, since what is between takes time of the processor. */
async function countMails(
  name: string,
  ring: Ring,
  task: Omit<Task, "role" | "at" | "messages">,
): Promise<void> {
  const { smtp, submission, pop3 } = ring.entry;
  const [sends, submits, fetches] = await Promise.all([smtp, submission, pop3].map(countingProxy));
  if (!sends || !submits || !fetches) throw new Error("no proxies");
  const proxies = [sends, submits, fetches];
  const at = { smtp: sends.addr, submission: submits.addr, pop3: fetches.addr };
  // Fewer than may be on their way are no load.
  const messages = Math.max(task.inFlight, messagesFor(task.subscribers) / 4);
  const count = () => ({
    // Settlements are mails, too: all that the clients hand in counts.
    mails: sends.mails + submits.mails,
    octets: proxies.reduce((sum, proxy) => sum + proxy.octets, 0),
  });
  let before: ReturnType<typeof count> | undefined;
  const { failovers } = await measure({ ...task, at, messages }, () => {
    before ??= count();
    return {};
  });
  // Only when the programs have ended: the last copy is consumed before its settlement is on its way.
  const after = count();
  if (!before) throw new Error("nothing was counted");
  // On a machine that is too busy; what goes to another member passes these proxies by.
  const missed =
    failovers === 0 ? "" : `; TOO LOW: clients turned ${failovers} times to another member`;
  const mails = (after.mails - before.mails) / messages;
  const octets = after.octets - before.octets;
  const useful = messages * (1 + task.subscribers) * messageOctets;
  put({
    ...{ name: `${name}, mails per message`, value: mails, unit: "mails" },
    ...{ goal: { kind: "atMost" as const, value: 0.1 }, note: `publishing and settling${missed}` },
  });
  put({
    ...{ name: `${name}, overhead`, value: octets / useful - 1, unit: "octets/octet" },
    note: `SMTP and POP3, both directions, beyond the messages${missed}`,
  });
  for (const proxy of proxies) proxy.close();
}

const wanted = new Set(values.only?.split(",") ?? ["rabbitmq", "ring"]);
const counts = values.subscribers.split(",").map(Number);
try {
  if (wanted.has("rabbitmq")) {
    const missing = rabbitMissing();
    if (missing !== undefined) throw new Error(`${missing}; --only ring measures the other`);
    const rabbit = await startRabbitMq();
    try {
      for (const inFlight of windows) {
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
      await ring.addUsers([account.user]);
      for (const inFlight of windows) {
        for (const count of counts) await measureRing(ring, count, inFlight);
      }
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
