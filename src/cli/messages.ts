/** `chord pub`, `sub`, `push` and `pull`: exchanges and queues for scripts, over mail alone. */
import type { Consumer, Delivery, Queue, Receipt, Ringpost, SendOptions } from "../sdk/index.js";
import { durationMs } from "./duration.js";
import { CliError, oneLine, usageError } from "./errors.js";
import { InputReader } from "./input-reader.js";
import { readPassword } from "./password.js";
import { type SessionOptions, withSession } from "./sdk-session.js";
import { visibleLine } from "./visible.js";
import type { World } from "./world.js";

export interface PublishOptions extends SessionOptions {
  readonly key?: string;
  readonly header?: readonly string[];
  readonly ttl?: string;
  readonly lines?: boolean;
  readonly timeout: string;
}

export interface ReceiveOptions extends SessionOptions {
  readonly key?: string;
  readonly count?: string;
  readonly json?: boolean;
  readonly raw?: boolean;
  readonly ack?: boolean;
  readonly unsubscribe?: boolean;
  readonly timeout?: string;
}

const countMax = 1_000_000;
const passwordOctetsMax = 4_096;
/** Lines that were sent and are not yet safe. */
const inFlightMax = 256;
const heldMax = 256;

/** Resolves when the ring has it. */
export async function publish(
  world: World,
  event: string,
  body: string | undefined,
  options: PublishOptions,
): Promise<void> {
  const { key } = options;
  await sendAll(world, body, options, async (client) => (octets, send) => {
    return client.publish(event, octets, { ...send, ...(key !== undefined && { key }) });
  });
}

/** Resolves when the ring has it, or all of the lines. */
export async function push(
  world: World,
  name: string,
  body: string | undefined,
  options: PublishOptions,
): Promise<void> {
  await sendAll(world, body, options, async (client) => {
    const queue = await client.queue(name);
    return (octets, send) => queue.send(octets, send);
  });
}

type Send = (octets: Buffer, options: SendOptions) => Promise<Receipt>;

async function sendAll(
  world: World,
  body: string | undefined,
  options: PublishOptions,
  open: (client: Ringpost) => Promise<Send>,
): Promise<void> {
  const timeoutMs = durationMs("--timeout", options.timeout);
  const ttlMs = options.ttl === undefined ? undefined : durationMs("--ttl", options.ttl);
  const headers = headersOf(options.header ?? []);
  if (options.lines === true && body !== undefined && body !== "-") {
    throw usageError("--lines takes the lines of stdin: leave the body out, or give -");
  }
  if (body === undefined && world.stdin.isTTY) {
    throw usageError("there is no body: give one, or - and the body on stdin");
  }
  const input = new InputReader(world.stdin);
  const fromStdin = body === undefined || body === "-";
  const password = await passwordBefore(world, input, { ...options, fromStdin });
  const more: SendOptions = { ...(ttlMs !== undefined && { ttlMs }), ...(headers && { headers }) };
  await withSession(world, options, password, async (client, signal) => {
    const send = await open(client);
    const one = async (octets: Buffer): Promise<string> => {
      const { id, delivered } = await send(octets, { ...more, signal });
      await within(delivered, timeoutMs, signal);
      return id;
    };
    if (options.lines !== true) {
      world.output.line(await one(fromStdin ? await input.rest() : Buffer.from(body)));
      return;
    }
    await eachLine(input, one, (id) => world.output.line(id));
  });
}

/** Ids in the order of the lines; the first that fails ends it. */
async function eachLine(
  input: InputReader,
  send: (line: Buffer) => Promise<string>,
  sent: (id: string) => void,
): Promise<void> {
  const underWay: Promise<string>[] = [];
  for (let line = await input.line(); line !== undefined; line = await input.line()) {
    const sending = send(line);
    // Waited for below, in order; until then it is nobody's.
    sending.catch(() => undefined);
    underWay.push(sending);
    if (underWay.length >= inFlightMax) sent(await (underWay.shift() as Promise<string>));
  }
  for (const sending of underWay) sent(await sending);
}

/** The first line of stdin, where the body comes from there as well; else as other commands do. */
async function passwordBefore(
  world: World,
  input: InputReader,
  { passwordStdin = false, fromStdin }: { passwordStdin?: boolean; fromStdin: boolean },
): Promise<string> {
  if (passwordStdin) return (await input.line(passwordOctetsMax))?.toString() ?? "";
  if (fromStdin && !world.stdin.isTTY) {
    throw usageError(
      "the body is on stdin, so the password can't be asked for: " +
        "give it on the first line of stdin with --password-stdin",
    );
  }
  return readPassword(world, {});
}

function headersOf(texts: readonly string[]): Record<string, string> | undefined {
  if (texts.length === 0) return undefined;
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([^=\s]+)=(.*)$/s.exec(text) ?? [];
      if (name === undefined || value === undefined) {
        throw usageError("--header: must be name=value");
      }
      return [name, value];
    }),
  );
}

/** @throws CliError when it takes longer */
async function within(done: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(ms)]);
  const why = new Promise<never>((_, reject) => {
    late.addEventListener("abort", () => {
      reject(
        new CliError(
          `the ring has not confirmed it within ${ms / 1_000} s; it may or may not have been taken`,
        ),
      );
    });
  });
  await Promise.race([done, why]);
}

/** Prints what is published until it was so many, or for ever. Each is settled when it is printed. */
export async function subscribe(
  world: World,
  event: string,
  options: ReceiveOptions,
): Promise<void> {
  const count = countOf(options.count);
  const { key, unsubscribe = false } = options;
  const password = await readPassword(world, options);
  await withSession(world, options, password, async (client, signal) => {
    const more = { prefetch: Math.min(count, heldMax), ...(key !== undefined && { key }) };
    const consumer = await client.subscribe(event, { ...more, signal });
    const got = await receive(world, consumer, { ...options, ack: true, count, signal });
    if (unsubscribe) await client.unsubscribe(event);
    if (signal.aborted || (count !== Number.POSITIVE_INFINITY && got < count))
      throw tooFew(got, count, options);
  });
}

/** Takes so many messages from a queue. Without `ack` they are only looked at, and go back. */
export async function pull(world: World, name: string, options: ReceiveOptions): Promise<void> {
  const count = countOf(options.count ?? "1");
  if (options.ack !== true && count > heldMax) {
    throw usageError(`--count ${count}: without --ack, at most ${heldMax} are held at a time`);
  }
  const password = await readPassword(world, options);
  await withSession(world, options, password, async (client, signal) => {
    const queue: Queue = await client.queue(name);
    const consumer = queue.consume({ prefetch: Math.min(count, heldMax), signal });
    const got = await receive(world, consumer, { ...options, count, signal });
    if (got < count) throw tooFew(got, count, options);
  });
}

interface Receiving extends Omit<ReceiveOptions, "count"> {
  readonly count: number;
  readonly signal: AbortSignal;
}

async function receive(world: World, consumer: Consumer, options: Receiving): Promise<number> {
  const { count, ack = false, timeout, signal } = options;
  const held: Delivery[] = [];
  let got = 0;
  const late =
    timeout === undefined ? undefined : AbortSignal.timeout(durationMs("--timeout", timeout));
  const close = (): void => void consumer.close().catch(() => undefined);
  late?.addEventListener("abort", close);
  try {
    for await (const delivery of consumer) {
      await world.output.write(printed(delivery, options)).catch(unwritten);
      got += 1;
      if (ack) await delivery.ack();
      else held.push(delivery);
      if (got >= count) break;
    }
  } catch (error) {
    // A reader that has seen enough is no error: what it did not read comes again.
    const isUnread = (error as NodeJS.ErrnoException).code === "EPIPE";
    if (late?.aborted !== true && !signal.aborted && !isUnread) throw error;
  } finally {
    late?.removeEventListener("abort", close);
    await Promise.allSettled(held.map((delivery) => delivery.nack()));
    await consumer.close();
  }
  return got;
}

/** A disk that is full is no error of ours; what was not written comes again. */
function unwritten(error: NodeJS.ErrnoException): never {
  if (error.code === "EPIPE") throw error;
  throw new CliError(`stdout can't be written: ${error.message}`);
}

function tooFew(got: number, count: number, { timeout }: ReceiveOptions): CliError {
  const wanted = count === Number.POSITIVE_INFINITY ? "" : ` of ${count}`;
  const when = timeout === undefined ? "before the end" : `within ${timeout}`;
  return new CliError(`only ${got}${wanted} came ${when}`);
}

function countOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= countMax) return count;
  throw usageError(`--count ${oneLine(text)}: must be a whole number from 1 to ${countMax}`);
}

/** One line of a message; its octets alone with `raw`. */
function printed(
  delivery: Delivery,
  { json = false, raw = false }: Pick<ReceiveOptions, "json" | "raw">,
): Buffer {
  if (raw) return delivery.bytes;
  if (!json) return Buffer.from(`${visibleLine(delivery.bytes.toString("utf8"))}\n`);
  const { id, from, stream, sequence, exchange, routingKey, correlationId } = delivery;
  const { headers, contentType, sentAt, redelivered, bytes } = delivery;
  const text = bytes.toString("utf8");
  const isText = Buffer.from(text).equals(bytes);
  const line = JSON.stringify({
    ...{ id, from, sentAt: sentAt.toISOString(), stream, sequence },
    ...{ exchange, routingKey, correlationId, headers, contentType, redelivered },
    ...(isText ? { body: text } : { bodyBase64: bytes.toString("base64") }),
  });
  return Buffer.from(`${line}\n`);
}
