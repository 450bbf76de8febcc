/** The power goes: what was only in memory is lost, what was acknowledged is on the disks. */
import { expect, test } from "vitest";
import { PoweredDisk } from "../support/power-cut.js";
import { ringScope } from "../support/ring-scope.js";
import { checkPromises, some, startLoad } from "../support/under-load.js";

const scope = ringScope();

test("D1: power cuts under load: of one member, then of all three at once", async (context) => {
  const disks = [1, 2, 3].map(() => PoweredDisk.mount(context));
  const ring = await scope.start({
    members: 3,
    replicas: 2,
    place: (index) => ({ dataDir: `${disks[index]?.folder ?? ""}/data` }),
  });
  const load = await startLoad(ring, 6);
  const cut = async (victims: readonly number[]): Promise<void> => {
    // First the disks, then the processes: nothing can be promised in between.
    for (const index of victims) disks[index]?.cut();
    await Promise.all(victims.map((index) => ring.member(index).kill("SIGKILL")));
    for (const index of victims) disks[index]?.restore();
  };

  await cut([1]);
  await load.progress(some, "while the power of one is off");
  await ring.member(1).restart();
  await load.progress(some, "with the power of one back");

  const acknowledged = load.counts.acknowledged;
  await load.progress({ mails: 60, fetches: 0, deletions: 0 }, "before the second cut");
  await cut([0, 1, 2]);
  expect(load.counts.acknowledged).toBeGreaterThan(acknowledged);
  await ring.restartAll(ring.members);
  await load.progress(some, "with all power back");
  await checkPromises(ring, load);
}, 300_000);
