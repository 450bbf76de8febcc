/** One node is killed under load, each in turn: no promise is broken, and nobody has to wait. */
import { test } from "vitest";
import { checkBook, MailLoad } from "../support/load.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope();
const kept = ["kept-a", "kept-b", "kept-c"];
const emptied = ["emptied-a", "emptied-b"];

test("kill -9 of each node in turn, under load", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([...kept, ...emptied]);
  const load = new MailLoad(ring, { kept, emptied });
  load.start();
  const some = { mails: 60, fetches: 6, deletions: 6 };
  await load.progress(some, "with all nodes");
  for (const victim of ring.members) {
    await victim.kill("SIGKILL");
    await load.progress(some, `without member ${victim.id}`);
    await victim.restart();
    await load.progress(some, `after member ${victim.id} came back`);
  }
  await load.stop();
  await ring.settled();
  await ring.copiesEqual([...kept, ...emptied], { copies: 3 });
  await checkBook(ring, load.book, [...kept, ...emptied]);
}, 180_000);
