/** A program with the SDK, in a process of its own: sends what its plan says, and consumes. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Journal } from "../../../src/sdk/journal/journal.js";
import {
  connect,
  type Consumer,
  type Delivery,
  type Ringpost,
  RingpostError,
} from "../../../src/sdk/index.js";
import { Servers } from "../../../src/sdk/transport/servers.js";
import {
  Book,
  type ConsumedLine,
  consumedBook,
  readBook,
  type SentLine,
  sentBook,
} from "./books.js";
import { crashingFiles } from "./crashing-files.js";
import { bodyOf, type Planned, planOf, subscribersOf } from "./plan.js";
import type { PeerOrder, PeerTask, PeerWord } from "./task.js";

/** On their way at a time. */
const unsettledMax = { messages: 64, octets: 64 * 1024 * 1024 } as const;
/** One job in so many is handed back before it is worked on. What has an order is not: those behind it are here already. */
const handedBackEach = 50;

const leaseMs = 5_000;
const eventOf = (name: string): string => `news-of-${name}`;
const workOf = (name: string): string => `work-for-${name}`;
const jobsOf = (name: string): string => `jobs-of-${name}`;

const say = (word: PeerWord): void => void process.send?.(word);

class Peer {
  readonly #task: PeerTask;
  readonly #client: Ringpost;
  readonly #sent: Book<SentLine>;
  readonly #consumed: Book<ConsumedLine>;
  /** Ids that the application has worked on. */
  readonly #known = new Set<string>();
  readonly #acked = new Set<string>();
  #unsettled = { messages: 0, octets: 0 };
  readonly #receipts: Promise<unknown>[] = [];
  readonly #endAt: number;
  #isStopped = false;
  #handed = 0;
  #step: () => void = () => undefined;

  constructor(task: PeerTask, client: Ringpost) {
    this.#task = task;
    this.#client = client;
    for (const line of readBook<ConsumedLine>(consumedBook(task.folder))) {
      if (line[0] === "acked") this.#acked.add(line[1]);
      else this.#known.add(line[1].id);
    }
    this.#endAt = this.#acked.size + (task.endAfter ?? Infinity);
    this.#sent = new Book(sentBook(task.folder));
    this.#consumed = new Book(consumedBook(task.folder));
    client.on("deadLetter", ({ id, why }) => this.#sent.write(["dead", id, why]));
  }

  async run(subscribe: Promise<void>, go: Promise<void>): Promise<void> {
    const { hasBroker } = this.#task;
    void this.#consume(this.#client.inbox(), "inbox");
    if (hasBroker) await this.#declare();
    say("declared");
    await subscribe;
    if (hasBroker) await this.#subscribe();
    say("ready");
    await go;
    await this.#sendAll();
    await this.#end();
  }

  stop(): void {
    this.#isStopped = true;
    this.#step();
  }

  async #declare(): Promise<void> {
    const { name } = this.#task;
    await insist(() => this.#client.createEvent(eventOf(name)));
    await insist(() => this.#client.createEvent(workOf(name), { publishers: "everyone" }));
    const jobs = await insist(() => this.#client.queue(jobsOf(name), { leaseMs }));
    await insist(() => jobs.bind(workOf(name), { key: "#" }));
    void this.#consume(jobs.consume(), jobsOf(name));
  }

  async #subscribe(): Promise<void> {
    const { name, plan } = this.#task;
    for (const other of plan.peers) {
      if (!subscribersOf(plan.peers, other).includes(name)) continue;
      const consumer = await insist(() => this.#client.subscribe(eventOf(other)));
      void this.#consume(consumer, eventOf(other));
    }
  }

  // ---- Sending

  async #sendAll(): Promise<void> {
    const { name, plan, folder, sendUpTo } = this.#task;
    const tried = readBook<SentLine>(sentBook(folder)).filter(([what]) => what === "try").length;
    for (const planned of planOf(plan, name).slice(tried, sendUpTo)) {
      while (!this.#isStopped && this.#isFull(planned)) {
        await new Promise<void>((resolve) => (this.#step = resolve));
      }
      if (this.#isStopped) return;
      await this.#send(planned);
    }
  }

  #isFull({ octets }: Planned): boolean {
    const { messages, octets: before } = this.#unsettled;
    if (messages === 0) return false;
    const { unsettledMax: most = unsettledMax.messages } = this.#task;
    return messages >= most || before + octets > unsettledMax.octets;
  }

  async #send(planned: Planned): Promise<void> {
    const { name } = this.#task;
    const { n, route, stream, octets } = planned;
    const body = bodyOf(name, n, octets);
    const options = { stream, headers: { from: name, n } };
    this.#sent.write(["try", n]);
    const receipt = await insist(() => {
      if (route.kind === "peer") return this.#client.send(route.to, body, options);
      const exchange = route.kind === "event" ? eventOf(name) : workOf(route.to);
      return this.#client.publish(exchange, body, options);
    });
    this.#sent.write(["sent", n, receipt.id]);
    this.#unsettled.messages += 1;
    this.#unsettled.octets += octets;
    const settled = (): void => {
      this.#unsettled.messages -= 1;
      this.#unsettled.octets -= octets;
      this.#step();
    };
    receipt.delivered.then(settled, settled);
    if (this.#task.endAfter !== undefined) this.#receipts.push(receipt.consumed);
  }

  // ---- Consuming

  async #consume(consumer: Consumer, source: string): Promise<void> {
    for await (const delivery of consumer) {
      this.#handed += 1;
      const isNew = !this.#known.has(delivery.id);
      if (isNew && source === jobsOf(this.#task.name) && this.#handed % handedBackEach === 0) {
        // What fails comes again all the same.
        delivery.nack().catch(() => undefined);
        continue;
      }
      this.#work(delivery, source, isNew);
      // Not waited for: others may come while it becomes durable.
      delivery.ack().then(
        () => this.#onAcked(delivery.id),
        () => undefined,
      );
    }
  }

  #work(delivery: Delivery, source: string, isNew: boolean): void {
    const { id, stream, sequence, bytes, headers } = delivery;
    const [from, n] = [String(headers["from"]), Number(headers["n"])];
    const isWhole = bytes.equals(bodyOf(from, n, bytes.length));
    const { life } = this.#task;
    const effect = { life, id, from, n, stream, sequence, source, isWhole };
    this.#consumed.write([isNew ? "effect" : "again", effect]);
    this.#known.add(id);
  }

  #onAcked(id: string): void {
    this.#consumed.write(["acked", id]);
    this.#acked.add(id);
    this.#step();
  }

  async #end(): Promise<void> {
    if (this.#task.endAfter === undefined) return;
    while (this.#acked.size < this.#endAt) {
      await new Promise<void>((resolve) => (this.#step = resolve));
    }
    await Promise.allSettled(this.#receipts);
    await this.#client.drain();
    process.exit(0);
  }
}

/** Until it is done: what is refused for now is asked again. */
async function insist<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RingpostError) || !error.retryable) throw error;
      await sleep(200);
    }
  }
}

async function start(task: PeerTask, subscribe: Promise<void>, go: Promise<void>): Promise<void> {
  // What the ring tells of its members would lead around the relay.
  Servers.prototype.learn = () => undefined;
  const { crashAt, compactFromOctets, servers, name, password, folder } = task;
  const open = Journal.open.bind(Journal);
  Journal.open = (options, ports) =>
    open(options, {
      ...ports,
      ...(crashAt && { files: crashingFiles(ports.files, crashAt) }),
      ...(compactFromOctets !== undefined && { compactFromOctets }),
    });
  const client = await insist(() =>
    connect({
      servers,
      account: { user: name, password },
      store: join(folder, "store"),
      poll: { minMs: 50, maxMs: 500 },
    }),
  );
  const peer = new Peer(task, client);
  orders.set("stop", () => peer.stop());
  await peer.run(subscribe, go);
}

const orders = new Map<string, () => void>();
const ordered = (order: string): Promise<void> =>
  new Promise((resolve) => orders.set(order, resolve));
const [subscribe, go] = [ordered("subscribe"), ordered("go")];

process.on("message", (order: PeerOrder) => {
  if (typeof order === "string") return orders.get(order)?.();
  if (order.task.isSetUp) for (const follow of [...orders.values()]) follow();
  start(order.task, subscribe, go).catch((error: unknown) => {
    say({ failed: String(error instanceof Error ? error.stack : error) });
    process.exit(1);
  });
});
process.once("disconnect", () => process.exit(1));
say("loaded");
