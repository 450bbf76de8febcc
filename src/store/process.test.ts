import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { StoreFullError } from "../shared/store-errors.js";
import { openStore, StoreLockedError } from "./index.js";
import { takeLock } from "../shared/lock.js";
import { add, alice, bodyOf, collectLog, idOf, temporaryDirectory } from "./test-support.js";

const child = fileURLToPath(new URL("test-child.ts", import.meta.url));

/** Starts a process that writes to the store until it is killed. */
function start(directory: string, first: number) {
  const started = spawn(process.execPath, ["--import", "tsx", child, directory, String(first)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => {
    started.kill("SIGKILL");
  });
  const lines: string[] = [];
  const reader = createInterface({ input: started.stdout });
  reader.on("line", (line) => lines.push(line));
  return { process: started, lines, reader };
}

async function until(reader: NodeJS.EventEmitter, holds: () => boolean): Promise<void> {
  while (!holds()) await once(reader, "line", { signal: AbortSignal.timeout(60_000) });
}

async function kill(started: ChildProcess): Promise<void> {
  if (started.exitCode !== null || started.signalCode !== null) return;
  const exited = once(started, "close");
  started.kill("SIGKILL");
  await exited;
}

describe("a process that is killed", () => {
  test("has kept all that it acknowledged, and leaves no lock (D1)", async () => {
    const directory = temporaryDirectory();
    const acknowledged: number[] = [];
    for (const round of [1, 2, 3]) {
      const first = acknowledged.length + round * 100_000;
      const running = start(directory, first);
      await until(running.reader, () => running.lines.length > 300 * round);
      await kill(running.process);
      acknowledged.push(...running.lines.filter((line) => /^\d+$/.test(line)).map(Number));
      const store = await openStore({ directory, log: collectLog() });
      const { messages } = await store.contents(alice);
      const found = new Set<string>(messages.map(({ id }) => id));
      expect(acknowledged.filter((n) => !found.has(idOf(n)))).toEqual([]);
      for (const { digest } of messages) expect(await store.readBody(digest)).toBeDefined();
      await store.close();
    }
  });
});

describe("the lock", () => {
  test("a second process is told who holds the directory and what to do (K2)", async () => {
    const directory = temporaryDirectory();
    const holder = start(directory, 1);
    await until(holder.reader, () => holder.lines.includes("open"));
    const refused: unknown = await openStore({ directory, log: collectLog() }).catch(
      (e: unknown) => e,
    );
    expect(refused).toBeInstanceOf(StoreLockedError);
    expect(refused).toMatchObject({ directory, holderPid: holder.process.pid });
    expect(String(refused)).toContain(`${directory} is in use by process ${holder.process.pid}`);
    expect(String(refused)).toContain("Stop that process");
    await kill(holder.process);
    await (await openStore({ directory, log: collectLog() })).close();
  });

  test("of several that start at once exactly one wins", async () => {
    const directory = temporaryDirectory();
    const started = [1, 2, 3, 4].map((n) => start(directory, n * 100_000));
    for (const one of started) await until(one.reader, () => one.lines.length > 0);
    const outcomes = started.map(({ lines }) => lines[0]?.split(" ")[0]).sort();
    expect(outcomes).toEqual(["failed", "failed", "failed", "open"]);
    await Promise.all(started.map((one) => kill(one.process)));
  });

  test("where there is no abstract socket, a file of a holder that is gone is replaced", async () => {
    const directory = temporaryDirectory();
    const path = `${directory}/lock`;
    const first = await takeLock(directory, path, "darwin");
    await expect(takeLock(directory, path, "darwin")).rejects.toThrow(StoreLockedError);
    await first.release();
    const gone = spawnSync("true");
    const host = (await import("node:os")).hostname();
    fs.writeFileSync(path, JSON.stringify({ pid: gone.pid, host, startedAt: "" }));
    await (await takeLock(directory, path, "darwin")).release();
  });
});

describe("a disk that is full", () => {
  test("refuses, is read, and recovers by itself", async (context) => {
    const directory = temporaryDirectory();
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", directory]);
    if (mounted.status !== 0) context.skip("needs the right to mount a tmpfs");
    onTestFinished(() => {
      spawnSync("umount", [directory]);
    });
    const log = collectLog();
    const ballast = `${directory}/ballast`;
    fs.writeFileSync(ballast, Buffer.alloc(1_000_000));
    const store = await openStore({ directory, log, limits: { flushAfterMs: 0 } });
    const accepted: number[] = [];
    const refused: number[] = [];
    for (let n = 1; n <= 60; n++) {
      const body = bodyOf(Buffer.alloc(40_000, n));
      const write = store.write([add(alice, n, body)], [body]);
      await write.then(
        () => accepted.push(n),
        (error: unknown) => {
          expect(error).toBeInstanceOf(StoreFullError);
          refused.push(n);
        },
      );
    }
    expect(accepted.length).toBeGreaterThan(5);
    expect(refused.length).toBeGreaterThan(5);
    expect((await store.contents(alice)).messages).toHaveLength(accepted.length);
    fs.rmSync(ballast);
    const late = bodyOf("there is space again");
    await store.write([add(alice, 100, late)], [late]);
    await store.close();
    const again = await openStore({ directory, log });
    const { messages } = await again.contents(alice);
    expect(messages.map(({ id }) => id)).toEqual([...accepted, 100].map(idOf));
    for (const { digest } of messages) expect(await again.readBody(digest)).toBeDefined();
    await again.close();
  });
});
