import { expect, test } from "vitest";
import { placementOf } from "../../replication/placement.js";
import { memberOf, rosterOf } from "../../replication/testing.js";
import { packIds } from "../../shared/floor.js";
import type { MailboxName, MemberUuid, MessageId, RingId } from "../../shared/ids.js";
import { Durable } from "./durable.js";

const members = [memberOf(10), memberOf(20), memberOf(30)];
const placement = placementOf(rosterOf(members), 1n as RingId);
const mailbox = "work@ring.test/queue" as MailboxName;
const timeOf = (n: number): string => n.toString(16).padStart(12, "0");
const id = `${timeOf(5)}8000${"ab".repeat(8)}` as MessageId;

interface Answer {
  readonly live?: readonly MessageId[];
  readonly removed?: readonly MessageId[];
  /** A floor above the id, and what it spares. */
  readonly spared?: readonly MessageId[];
  /** Above the floor, if another is on its way. */
  readonly barrier?: number;
}

/** What became of the id, when members answer like this; the others are silent. */
async function fateBy(answers: readonly (Answer | undefined)[]): Promise<string | undefined> {
  const call = async ({ uuid }: { uuid: MemberUuid }, _: string, request: { after: string }) => {
    const answer = answers[members.findIndex((member) => member.uuid === uuid)];
    if (!answer) throw new Error("silent");
    const { live = [], removed = [], spared, barrier } = answer;
    const below = timeOf(9);
    return {
      live: live.filter((one) => one > request.after),
      removed: removed.map((one) => ({ id: one, removedAtMs: 1 })),
      more: false,
      ...(spared && { below }),
      ...(spared && request.after === "" && { floor: { below, spared: packIds(spared) } }),
      barrier: barrier ? timeOf(barrier) : spared ? below : "",
    };
  };
  const replication = { groups: { placementOf: () => placement }, peers: { call } };
  const durable = new Durable({ replication } as never);
  return (await durable.fatesOf(mailbox, [id])).get(id);
}

const behind: Answer = { spared: [] };

test.each<[string, readonly (Answer | undefined)[], string]>([
  ["nobody has what a floor has passed", [behind, behind, undefined], "never"],
  ["only one of three has the floor", [behind, {}, {}], "unknown"],
  ["another floor is on its way", [behind, { ...behind, barrier: 12 }, undefined], "unknown"],
  ["one has it", [behind, behind, { live: [id] }], "unknown"],
  [
    "a majority has it, or had",
    [{ spared: [id], live: [id] }, { spared: [id], removed: [id] }, undefined],
    "delivered",
  ],
  // Its holder is away, and comes back with it.
  [
    "the floor spares it, and nobody who answers has it",
    [{ spared: [id] }, { spared: [id] }, undefined],
    "unknown",
  ],
])("what became of a copy when %s", async (_, answers, fate) => {
  expect(await fateBy(answers)).toBe(fate);
});
