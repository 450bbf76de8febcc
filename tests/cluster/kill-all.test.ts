/** All nodes are killed at once under load: what was acknowledged is on their disks. */
import { test } from "vitest";
import { checkBook, MailLoad } from "../support/load.js";
import { ringScope } from "../support/ring-scope.js";

const scope = ringScope();
const kept = ["kept-a", "kept-b"];
const emptied = ["emptied-a", "emptied-b"];

test("kill -9 of all nodes at once, restarted in another order", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  await ring.addUsers([...kept, ...emptied]);
  const load = new MailLoad(ring, { kept, emptied });
  load.start();
  const some = { mails: 60, fetches: 4, deletions: 6 };
  await load.progress(some, "with all nodes");
  const [one, two, three] = [ring.member(0), ring.member(1), ring.member(2)];
  for (const order of [
    [three, one, two],
    [two, three, one],
  ]) {
    await ring.stopAll();
    await ring.restartAll(order);
    await load.progress(some, "after everybody came back");
  }
  await load.stop();
  await ring.settled();
  await ring.copiesEqual([...kept, ...emptied], { copies: 3 });
  await checkBook(ring, load.book, [...kept, ...emptied]);
}, 180_000);
