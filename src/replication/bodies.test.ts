import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Address, BodyDigest, MemberUuid } from "../shared/ids.js";
import { Bodies } from "./bodies.js";
import type { Peers } from "./peers.js";
import type { Files, Store } from "./ports.js";

const sender = { uuid: "sender" as MemberUuid, addr: "a:1" as Address };

/** Bodies over files in memory. */
function bodiesInMemory() {
  const files = new Map<string, Buffer>();
  let count = 0;
  const port: Files = {
    create: (path) => {
      files.set(path, Buffer.alloc(0));
      return Promise.resolve({
        path,
        append: (chunk: Buffer) => {
          files.set(path, Buffer.concat([files.get(path) ?? Buffer.alloc(0), chunk]));
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      });
    },
    link: () => Promise.reject(new Error("not asked for")),
    read: () => Promise.reject(new Error("not asked for")),
    remove: (path) => {
      files.delete(path);
      return Promise.resolve();
    },
  };
  const store = { spoolPath: () => `spool/${++count}` } as Partial<Store> as Store;
  const peers = { isSelf: () => false } as Partial<Peers> as Peers;
  const clock = { wallMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  const quiet = () => undefined;
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  return { files, bodies: new Bodies({ store, files: port, peers, clock, log }) };
}

const pieces = [Buffer.from("first "), Buffer.from("second")];
const whole = Buffer.concat(pieces);
const digest = createHash("sha256").update(whole).digest("hex") as BodyDigest;
const header = { digest, octets: whole.length, transfer: "t1" };

async function send(bodies: Bodies): Promise<void> {
  let offset = 0;
  for (const piece of pieces) {
    expect(await bodies.receiveChunk(sender, "t1", offset, piece)).toEqual({ kind: "ok" });
    offset += piece.length;
  }
}

describe("a large body that comes in pieces", () => {
  test("is put together in the spool", async () => {
    const { files, bodies } = bodiesInMemory();
    await send(bodies);
    const [body] = await bodies.collect(sender, [header], []);
    expect(body).toEqual({ kind: "file", digest, octets: whole.length, path: "spool/1" });
    expect(files.get("spool/1")).toEqual(whole);
  });

  test("is thrown away when it is not the one announced", async () => {
    const { files, bodies } = bodiesInMemory();
    await send(bodies);
    const wrong = { ...header, digest: "0".repeat(64) as BodyDigest };
    await expect(bodies.collect(sender, [wrong], [])).rejects.toThrow(/not the one announced/);
    expect(files.size).toBe(0);
  });

  test("is refused when a piece is missing", async () => {
    const { bodies } = bodiesInMemory();
    await bodies.receiveChunk(sender, "t1", 0, whole.subarray(0, 3));
    const answer = await bodies.receiveChunk(sender, "t1", 5, whole.subarray(5));
    expect(answer).toEqual({ kind: "failed", why: "a piece is missing" });
  });

  test("leaves nothing behind when it was not stored", async () => {
    const { files, bodies } = bodiesInMemory();
    await send(bodies);
    await bodies.dispose(await bodies.collect(sender, [header], []));
    expect(files.size).toBe(0);
  });
});
