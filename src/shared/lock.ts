import { spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import { hostname } from "node:os";

/** Another process has the data directory. */
export class StoreLockedError extends Error {
  override readonly name = "StoreLockedError";
  constructor(
    readonly directory: string,
    readonly holderPid: number | undefined,
    holder: string,
  ) {
    super(
      `the data directory ${directory} is in use by ${holder}. ` +
        `Stop that process, or give this one a directory of its own.`,
    );
  }
}

export interface StoreLock {
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Tells a process from a later one with the same pid. */
  readonly startedAt: string;
}

/**
 * Takes the directory for this process until `release` or its end, however it ends. Node has no
 * flock(2), so two things that the kernel takes back are used together on Linux: a socket in the
 * abstract namespace, named after the directory's device and inode, which needs no tool but is seen
 * only within one network namespace; and flock(1) on our open `lock` file, which also holds against
 * another container on the same volume (the lock belongs to the open file, which outlives the
 * tool). Elsewhere the file names its holder, and a holder that is gone is replaced.
 * @throws StoreLockedError
 */
export async function takeLock(
  directory: string,
  path: string,
  platform: NodeJS.Platform = process.platform,
): Promise<StoreLock> {
  if (platform !== "linux") return takePidLock(directory, path);
  const socket = await bindAbstract(directory, path);
  const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  const locked = spawnSync("flock", ["-n", "3"], { stdio: ["ignore", "ignore", "ignore", fd] });
  // Any other outcome means that the tool is missing or cannot lock here; the socket holds alone.
  if (locked.status === 1) {
    fs.closeSync(fd);
    await closeSocket(socket);
    throw lockedError(directory, path);
  }
  const holder = Buffer.from(JSON.stringify(selfAsHolder()));
  fs.ftruncateSync(fd);
  fs.writeSync(fd, holder, 0, holder.length, 0);
  return {
    release: async () => {
      fs.closeSync(fd);
      await closeSocket(socket);
    },
  };
}

function lockedError(directory: string, path: string): StoreLockedError {
  const holder = readHolder(path);
  const words =
    holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
  return new StoreLockedError(directory, holder?.pid, words);
}

async function bindAbstract(directory: string, path: string): Promise<net.Server> {
  const { dev, ino } = fs.statSync(directory);
  const server = net.createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path: `\0ringpost-store-${dev}-${ino}` }, resolve);
    });
  } catch (error) {
    if (errorCode(error) === "EADDRINUSE") throw lockedError(directory, path);
    throw error;
  }
  server.unref();
  return server;
}

function closeSocket(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

/** Start time as the system tells it, so that a pid used again is not taken for the holder. */
function startedAtOf(pid: number): string {
  const shown = spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" });
  return shown.status === 0 ? shown.stdout.trim() : "";
}

function selfAsHolder(): Holder {
  return { pid: process.pid, host: hostname(), startedAt: startedAtOf(process.pid) };
}

function readHolder(path: string): Holder | undefined {
  try {
    const parsed = JSON.parse(fs.readFileSync(path, "utf8")) as Partial<Holder>;
    const { pid, host, startedAt } = parsed;
    if (typeof pid !== "number" || typeof host !== "string") return undefined;
    return { pid, host, startedAt: startedAt ?? "" };
  } catch {
    return undefined;
  }
}

function isAlive(holder: Holder): boolean {
  // Another host's processes cannot be seen: its lock stands.
  if (holder.host !== hostname()) return true;
  const startedAt = startedAtOf(holder.pid);
  return startedAt !== "" && (holder.startedAt === "" || holder.startedAt === startedAt);
}

/**
 * The fallback: link(2) makes the file with its content in one step. Of those that find a holder
 * that is gone, the one that makes its grave (named after that holder, and left) removes its file.
 */
function takePidLock(directory: string, path: string): StoreLock {
  const own = `${path}.${process.pid}`;
  fs.writeFileSync(own, JSON.stringify(selfAsHolder()), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        fs.linkSync(own, path);
        return { release: () => Promise.resolve(fs.rmSync(path, { force: true })) };
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error;
      }
      const holder = readHolder(path);
      if (holder === undefined || isAlive(holder) || !bury(path, holder)) break;
    }
    throw lockedError(directory, path);
  } finally {
    fs.rmSync(own, { force: true });
  }
}

function bury(path: string, holder: Holder): boolean {
  const grave = `${path}.gone-${holder.pid}-${Date.parse(holder.startedAt) || 0}`;
  try {
    fs.linkSync(path, grave);
  } catch {
    return false;
  }
  fs.rmSync(path, { force: true });
  return true;
}

function errorCode(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}
