/** A node that stops answering without closing anything is worse than a dead one. */
import { test } from "vitest";
import { checkBook, MailLoad } from "../support/load.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope();
const kept = ["kept-a", "kept-b"];
const emptied = ["emptied-a"];

test("R9: SIGSTOP of each node in turn, under load, then SIGCONT", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([...kept, ...emptied]);
  const load = new MailLoad(ring, { kept, emptied });
  load.start();
  const some = { mails: 30, fetches: 4, deletions: 4 };
  await load.progress(some, "with all nodes");
  for (const frozen of ring.members) {
    await frozen.kill("SIGSTOP");
    await load.progress(some, `while member ${frozen.id} is frozen`);
    await frozen.kill("SIGCONT");
    await load.progress(some, `after member ${frozen.id} thawed`);
  }
  await load.stop();
  await ring.settled();
  await ring.copiesEqual([...kept, ...emptied], { copies: 3 });
  await checkBook(ring, load.book, [...kept, ...emptied]);
}, 180_000);
