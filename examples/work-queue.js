// Three workers share one queue. Each job is done by one of them; one worker gives a job back (it
// could as well have crashed), and another takes it up.
//   node examples/work-queue.js
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connectAs } from "./ring.js";

const jobs = 12;
const name = `thumbnails-${randomUUID().slice(0, 8)}`;
const office = await connectAs("alice");
const queue = await office.queue(name, { leaseMs: 30_000 });
for (let n = 1; n <= jobs; n += 1) await queue.send({ picture: `${n}.jpg` });

const done = new Set();
const all = new AbortController();

async function work(worker, ring) {
  const mine = await ring.queue(name, { leaseMs: 30_000 });
  // Not more than it can do soon: the others want some, too.
  for await (const job of mine.consume({ prefetch: 2, signal: all.signal })) {
    const { picture } = job.json();
    if (picture === "5.jpg" && job.redelivered === 0) {
      console.log(`worker ${worker} gives ${picture} back`);
      await job.nack();
      continue;
    }
    await sleep(50);
    await job.ack();
    console.log(`worker ${worker} has done ${picture}`);
    done.add(picture);
    if (done.size === jobs) all.abort();
  }
  await ring.close();
}

const workers = [];
for (const worker of [1, 2, 3]) workers.push(work(worker, await connectAs("alice")));
await Promise.all(workers);
console.log(`${done.size} jobs done`);
await queue.remove();
await office.close();
