/** Others get a turn while a large mailbox is read. */
import { expect, test } from "vitest";
import { longestStall } from "../../tests/support/main-thread.js";
import { openStore } from "./index.js";
import { add, alice, bodyOf, collectLog, remove, temporaryDirectory } from "./test-support.js";

const log = collectLog();
const mails = 60_000;
const removed = 20_000;
const perWrite = 500;

/** The share of the work that was done without a break. */
async function largestShare(work: () => Promise<unknown>): Promise<number> {
  const { stallMs, busyMs } = await longestStall(work);
  return stallMs / busyMs;
}

test("a mailbox of 60,000 mails is opened and read in steps", async () => {
  const directory = temporaryDirectory();
  const body = bodyOf("x");
  let store = await openStore({ directory, log });
  await store.write([], [body]);
  for (let n = 0; n < mails; n += perWrite) {
    await store.write(Array.from({ length: perWrite }, (_, at) => add(alice, n + at, body)));
  }
  const readShare = await largestShare(() => store.contents(alice));
  for (let n = 0; n < removed; n += perWrite) {
    await store.write(Array.from({ length: perWrite }, (_, at) => remove(alice, n + at)));
  }
  await store.close();

  store = await openStore({ directory, log });
  const openShare = await largestShare(() => store.contents(alice));
  const { messages, tombstones, summary } = await store.contents(alice);
  expect([messages.length, tombstones.length]).toEqual([mails - removed, removed]);
  expect(await store.summary(alice)).toEqual(summary);
  await store.close();
  expect(readShare).toBeLessThan(0.5);
  expect(openShare).toBeLessThan(0.15);
});
