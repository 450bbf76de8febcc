/** The data of a member is gone: it comes back empty, as a new member, and is filled again. */
import { existsSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { ringScope } from "../support/ring-scope.js";
import { checkPromises, some, startLoad } from "../support/under-load.js";

const scope = ringScope();

test("rm -r of a dead member's data; it is started again with the same id and address", async () => {
  const ring = await scope.start({ members: 3, replicas: 2 });
  const load = await startLoad(ring);
  const victim = ring.member(1);
  const before = (await ring.memberStatus(victim.id))?.uuid;
  await victim.kill("SIGKILL");
  rmSync(victim.dataDir, { recursive: true });
  await load.progress(some, "while its data is gone");
  await victim.restart();
  expect(existsSync(victim.dataDir)).toBe(true);
  await load.progress(some, "with it back");
  await ring.settled();
  const after = (await ring.memberStatus(victim.id))?.uuid;
  expect(after).toBeDefined();
  expect(after).not.toBe(before);
  await checkPromises(ring, load);
}, 300_000);
