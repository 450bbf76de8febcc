/**
 * A program of `bench:middleware`, in a process of its own, as publishers and consumers are: told by its parent
 * what to do, it says when it is ready, is told to begin, and answers with what it measured.
 */
import * as amqp from "amqplib";
import type * as sdk from "../src/sdk/index.js";
import { type Gathered, Gathering, publishAll, type Round } from "./message-run.js";

export interface Task {
  readonly role: "publish" | "consume";
  /** The ring's endpoints, or RabbitMQ's URL. */
  readonly at:
    | { readonly smtp: string; readonly submission: string; readonly pop3: string }
    | { readonly url: string };
  readonly account: { readonly user: string; readonly password: string };
  readonly exchange: string;
  /** Of all rounds. */
  readonly messages: number;
  readonly subscribers: number;
  readonly inFlight: number;
  /** The longest wait between two looks; after activity they are closer. */
  readonly pollMs: number;
}

export interface Told extends Partial<Gathered> {
  readonly beganMs?: number;
  /** Of the processor, in this round. */
  readonly cpuSeconds: number;
  /** Clients that turned to another member, since the start. */
  readonly failovers: number;
}

interface Program {
  /** One round, from beginning to end. */
  run(round: Round): Promise<Omit<Told, "cpuSeconds" | "failovers">>;
  /** When everybody is done. */
  end(): Promise<void>;
}

const deadlineMs = 300_000;
/** Of one user the ring believes 16 programs. */
const programsMax = 8;

/** As it is published: compiled. */
const { connect } = (await import(
  new URL("../dist/src/sdk/index.js", import.meta.url).href
)) as typeof sdk;

type Client = Awaited<ReturnType<typeof connect>>;

async function ringPublisher(task: Task): Promise<Program> {
  const client = await ringClient(task);
  const exchange = await client.exchange(task.exchange, "fanout");
  return {
    run: async (round) => ({
      beganMs: await publishAll(round, task.inFlight, async (message) => {
        await (await exchange.publish(message)).delivered;
      }),
    }),
    end: () => client.drain(),
  };
}

let failovers = 0;

async function ringClient({ at, account, pollMs }: Task): Promise<Client> {
  if ("url" in at) throw new Error("no ring");
  const client = await connect({ servers: [at], account, poll: { maxMs: pollMs } });
  client.on("failover", () => (failovers += 1));
  return client;
}

async function ringConsumers(task: Task): Promise<Program> {
  const { subscribers, messages, exchange } = task;
  const gathering = new Gathering();
  const programs = Array.from({ length: Math.min(subscribers, programsMax) }, () =>
    ringClient(task),
  );
  const clients = await Promise.all(programs);
  await clients[0]?.exchange(exchange, "fanout");
  const subscribe = async (client: Client, name: string): Promise<{ work: Promise<void> }> => {
    const queue = await client.queue(name, { exclusive: true });
    await queue.bind(exchange);
    const consumer = queue.consume({ prefetch: 1_000 });
    const work = async (): Promise<void> => {
      let left = messages;
      for await (const delivery of consumer) {
        gathering.note(delivery.bytes);
        await delivery.ack();
        if (--left === 0) return;
      }
    };
    return { work: work() };
  };
  // Of each program one after the other: a question has a deadline, and a hundred at a time take long.
  const consuming: { work: Promise<void> }[] = [];
  await Promise.all(
    clients.map(async (client, first) => {
      for (let n = first; n < subscribers; n += clients.length) {
        consuming.push(await subscribe(client, `${exchange}.${n}`));
      }
    }),
  );
  return {
    run: ({ number, messages: some }) => gathering.result(number, some * subscribers, deadlineMs),
    end: async () => {
      await Promise.all(consuming.map(({ work }) => work));
      await Promise.all(clients.map((client) => client.drain()));
    },
  };
}

function rabbit({ at }: Task): Promise<amqp.ChannelModel> {
  if (!("url" in at)) throw new Error("no RabbitMQ");
  return amqp.connect(at.url);
}

async function rabbitPublisher(task: Task): Promise<Program> {
  const connection = await rabbit(task);
  const channel = await connection.createConfirmChannel();
  const publish = (message: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      channel.publish(task.exchange, "", message, { persistent: true }, (error) =>
        error ? reject(error as Error) : resolve(),
      );
    });
  return {
    run: async (round) => ({ beganMs: await publishAll(round, task.inFlight, publish) }),
    end: () => connection.close(),
  };
}

async function rabbitConsumers(task: Task): Promise<Program> {
  const { exchange, subscribers } = task;
  const gathering = new Gathering();
  const connection = await rabbit(task);
  const setUp = await connection.createChannel();
  await setUp.assertExchange(exchange, "fanout");
  const queues = Array.from({ length: subscribers }, (_, n) => `${exchange}.${n}`);
  for (const queue of queues) {
    await setUp.assertQueue(queue, { arguments: { "x-queue-type": "quorum" } });
    await setUp.bindQueue(queue, exchange, "");
    const consumer = await connection.createChannel();
    await consumer.prefetch(1_000);
    await consumer.consume(queue, (message) => {
      if (message === null) return;
      gathering.note(message.content);
      consumer.ack(message);
    });
  }
  return {
    run: ({ number, messages }) => gathering.result(number, messages * subscribers, deadlineMs),
    end: async () => {
      for (const queue of queues) await setUp.deleteQueue(queue);
      await connection.close();
    },
  };
}

function programFor(task: Task): Promise<Program> {
  if (task.role === "publish")
    return "url" in task.at ? rabbitPublisher(task) : ringPublisher(task);
  return "url" in task.at ? rabbitConsumers(task) : ringConsumers(task);
}

let program: Program | undefined;

const isRound = (message: unknown): message is Round =>
  typeof message === "object" && message !== null && "number" in message;

async function heed(message: unknown): Promise<void> {
  if (isRound(message) && program) {
    const before = process.cpuUsage();
    const told = await program.run(message);
    const { user, system } = process.cpuUsage(before);
    process.send?.({ ...told, cpuSeconds: (user + system) / 1e6, failovers } satisfies Told);
  } else if (message === "end" && program) {
    await program.end();
    process.exit(0);
  } else {
    program = await programFor(message as Task);
    process.send?.("ready");
  }
}

process.on("message", (message) => {
  heed(message).catch((error: unknown) => {
    process.stderr.write(`${String(error instanceof Error ? error.stack : error)}\n`);
    process.exit(1);
  });
});
