import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import type { ConsumeOptions, Message } from "../api.js";
import { DeliveryStream } from "./stream.js";

function setup(options: ConsumeOptions = {}) {
  const log: string[] = [];
  const closing = new AbortController();
  const stream = new DeliveryStream({
    ...options,
    closing: closing.signal,
    onRoom: () => void log.push("room"),
    onClose: () => void log.push("closed"),
  });
  const offer = (id: string): void =>
    stream.offer({ id } as Message, {
      ack: async () => void log.push(`ack ${id}`),
      nack: async (delayMs) => void log.push(`nack ${id} ${delayMs}`),
      reject: async (reason) => void log.push(`reject ${id} ${reason}`),
      working: async () => void log.push(`working ${id}`),
      release: () => void log.push(`release ${id}`),
    });
  return { stream, log, closing, offer };
}

test("prefetch bounds what is handed out and not settled", async () => {
  const { stream, offer, log } = setup({ prefetch: 2 });
  offer("a");
  offer("b");
  expect(stream.room).toBe(0);
  const { value } = await stream[Symbol.asyncIterator]().next();
  expect(stream.room).toBe(0);
  await value.ack();
  expect(stream.room).toBe(1);
  expect(log).toEqual(["ack a", "room"]);
});

test("when it has ended, nothing of it is left on signals that live on", async () => {
  const { signal } = new AbortController();
  const { stream, closing } = setup({ signal });
  const listening = () =>
    [closing.signal, signal].map((on) => getEventListeners(on, "abort").length);
  expect(listening()).toEqual([1, 1]);
  await stream.close();
  expect(listening()).toEqual([0, 0]);
});

test("each message is settled once, by whatever came first", async () => {
  const { stream, offer, log } = setup();
  offer("a");
  const { value } = await stream[Symbol.asyncIterator]().next();
  await value.working();
  await value.nack({ delayMs: 7 });
  await value.ack();
  await value.reject();
  expect(log).toEqual(["working a", "nack a 7", "room"]);
});

test("autoAck settles a message when the next one is asked for, and not before", async () => {
  const { stream, offer, log } = setup({ autoAck: true });
  offer("a");
  offer("b");
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  expect(log).toEqual([]);
  await iterator.next();
  expect(log).toContain("ack a");
  expect(log).not.toContain("ack b");
});

test("a loop that is left gives back what was not settled, and ends", async () => {
  const { stream, offer, log } = setup();
  for (const id of ["a", "b", "c"]) offer(id);
  for await (const message of stream) {
    if (message.id === "a") await message.ack();
    else break;
  }
  expect(log).toEqual(["ack a", "room", "release b", "release c", "closed"]);
  offer("d");
  expect(log.at(-1)).toBe("release d");
  expect(await stream[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
});

test.each(["the consumer's signal", "the client's end"])("%s ends the loop", async (what) => {
  const own = new AbortController();
  const { stream, closing, offer, log } = setup({ signal: own.signal });
  const end = what === "the client's end" ? closing : own;
  const taken: string[] = [];
  offer("a");
  offer("b");
  const loop = (async () => {
    for await (const { id } of stream) {
      taken.push(id);
      if (id === "b") queueMicrotask(() => end.abort(new Error("over")));
    }
  })();
  await loop;
  expect(taken).toEqual(["a", "b"]);
  expect(log).toEqual(["release a", "release b", "closed"]);
  expect(await stream[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
});

test("messages come in the order of the offers to who waits", async () => {
  const { stream, offer } = setup();
  const iterator = stream[Symbol.asyncIterator]();
  const both = Promise.all([iterator.next(), iterator.next()]);
  offer("a");
  offer("b");
  expect((await both).map(({ value }) => (value as Message).id)).toEqual(["a", "b"]);
});
