import { expect, test } from "vitest";
import type { MailboxName } from "../shared/ids.js";
import type { WayOutAnswer } from "./ports.js";
import { SubmittedMail } from "./way-out.js";

const alice = "alice@ring.test" as MailboxName;
const bob = "bob@ring.test" as MailboxName;

function wayOut(recipientsPerHour: number, room: "fits" | "full" | "undecided" = "fits") {
  const world = { nowMs: 0, asked: [] as unknown[], added: 0 };
  const out = new SubmittedMail({
    ...{ domain: "ring.test", recipientsPerHour },
    quotas: {
      check: async (...asked) => {
        world.asked.push(asked);
        return room;
      },
    },
    clock: { monotonicMs: () => world.nowMs },
    onAdded: () => (world.added += 1),
  });
  const askTimes = async (user: MailboxName, times: number): Promise<WayOutAnswer[]> => {
    const answers: WayOutAnswer[] = [];
    for (let n = 0; n < times; n += 1) answers.push(await out.ask(user, 7));
    return answers;
  };
  return { world, out, askTimes };
}

test("so many recipients at once, then one every so often; each user has their own", async () => {
  const { world, askTimes } = wayOut(60);
  const all = await askTimes(alice, 62);
  expect(all.filter((answer) => answer === "open")).toHaveLength(60);
  expect(all.slice(60)).toEqual(["throttled", "throttled"]);
  expect(await askTimes(bob, 1)).toEqual(["open"]);
  world.nowMs += 59_000;
  expect(await askTimes(alice, 1)).toEqual(["throttled"]);
  world.nowMs += 1_100;
  expect(await askTimes(alice, 2)).toEqual(["open", "throttled"]);
});

test("waiting longer than an hour saves nothing up", async () => {
  const { world, askTimes } = wayOut(3);
  await askTimes(alice, 4);
  world.nowMs += 10 * 3_600_000;
  expect(await askTimes(alice, 4)).toEqual(["open", "open", "open", "throttled"]);
});

test.each(["full", "undecided"] as const)("the room where it waits is %s", async (room) => {
  const { world, askTimes } = wayOut(10, room);
  expect(await askTimes(alice, 1)).toEqual([room]);
  expect(world.asked).toMatchObject([[".submitted@ring.test/queue", { messages: 10_000 }, 7]]);
});

test("who is throttled does not cost a question", async () => {
  const { world, askTimes } = wayOut(1);
  await askTimes(alice, 5);
  expect(world.asked).toHaveLength(1);
});
