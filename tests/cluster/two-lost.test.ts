/** Two neighbours are lost for good, one after the other: r + 1 copies are made again each time. */
import { test } from "vitest";
import { ringScope } from "../support/ring-scope.js";
import { boxes, checkPromises, some, startLoad } from "../support/under-load.js";
import { waitUntil } from "../support/wait.js";

const scope = ringScope();

test("two neighbours of five, with an eviction in between", async () => {
  const ring = await scope.start({ members: 5, replicas: 2, args: ["--evict-after", "2"] });
  const load = await startLoad(ring);
  // By their ids; most of the mailboxes that one has a copy of, the other has, too.
  const [, first, second] = [...ring.members].sort((a, b) => Number(a.id) - Number(b.id));
  for (const victim of [first, second]) {
    if (victim === undefined) throw new Error("no victim");
    await victim.kill("SIGKILL");
    await load.progress(some, `without member ${victim.id}`);
    await waitUntil(async () => (await ring.memberStatus(victim.id)) === undefined, {
      deadlineMs: 60_000,
      what: `member ${victim.id} to be evicted`,
      everyMs: 200,
    });
    await ring.copiesEqual(boxes, { copies: 3 });
    await load.progress(some, `after member ${victim.id} was evicted`);
  }
  await checkPromises(ring, load);
}, 300_000);
