// A large file from alice to bob, from disk to disk: never more than a few blocks of it in memory.
//   node examples/file.js [FILE]          (default: 200 MB of chance)
// The blocks are messages of one stream, so they come in order, each once. The last one says the
// SHA-256 of the whole.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream, rmSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { connectAs } from "./ring.js";

const mebi = 1024 * 1024;
const blockOctets = 4 * mebi;
const underWayMax = 4;
const folder = await mkdtemp(join(tmpdir(), "ringpost-file-"));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  });
}

async function someFile(octets) {
  const path = join(folder, "chance.bin");
  const file = createWriteStream(path);
  for (let left = octets; left > 0; left -= mebi) {
    if (!file.write(randomBytes(Math.min(left, mebi)))) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
  return path;
}

async function sendFile(ring, to, stream, path) {
  const hash = createHash("sha256");
  const underWay = [];
  for await (const block of createReadStream(path, { highWaterMark: blockOctets })) {
    hash.update(block);
    underWay.push((await ring.send(to, block, { stream })).delivered);
    if (underWay.length >= underWayMax) await underWay.shift();
  }
  await Promise.all(underWay);
  const end = { name: basename(path), sha256: hash.digest("hex") };
  await (await ring.send(to, end, { stream, headers: { end: true } })).consumed;
}

async function receiveFile(ring, stream, path) {
  const file = createWriteStream(path);
  const hash = createHash("sha256");
  for await (const message of ring.inbox({ prefetch: underWayMax })) {
    if (message.stream !== stream) {
      // Somebody else wrote, too: that comes again, later.
      await message.nack({ delayMs: 60_000 });
      continue;
    }
    if (message.headers.end === true) {
      file.end();
      await once(file, "close");
      const isWhole = message.json().sha256 === hash.digest("hex");
      await message.ack();
      return isWhole;
    }
    hash.update(message.bytes);
    if (!file.write(message.bytes)) await once(file, "drain");
    await message.ack();
  }
  return false;
}

try {
  const megabytes = Number(process.env["MEGABYTES"] ?? 200);
  const path = process.argv[2] ?? (await someFile(megabytes * 1_000_000));
  const { size } = await stat(path);
  const [alice, bob] = await Promise.all([connectAs("alice"), connectAs("bob")]);
  const startMs = performance.now();
  const stream = `file-${randomUUID()}`;
  const receiving = receiveFile(bob, stream, join(folder, "received"));
  await Promise.all([sendFile(alice, bob.user, stream, path), receiving]);
  const seconds = (performance.now() - startMs) / 1_000;
  if (!(await receiving)) throw new Error("what came is not what was sent");
  const rate = (size / seconds / 1_000_000).toFixed(1);
  console.log(`${size} octets in ${seconds.toFixed(1)} s (${rate} MB/s), the same SHA-256`);
  await Promise.all([alice.close(), bob.close()]);
} finally {
  await rm(folder, { recursive: true, force: true });
}
