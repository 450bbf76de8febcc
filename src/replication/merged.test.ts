import { expect, test } from "vitest";
import type { MemberUuid, MessageId } from "../shared/ids.js";
import { type Granted, unionOf, unsureIn } from "./merged.js";
import { type Placement, placementOf } from "./placement.js";
import type { ReadContents } from "./pull.js";
import type { RingId } from "../shared/ids.js";
import { memberOf, messageOf, rosterOf } from "./testing.js";

const [a, b, c] = [memberOf(10), memberOf(20), memberOf(30)];
const placement = placementOf(rosterOf([a, b, c]), 1n as RingId);

const timeOf = (n: number): string => n.toString(16).padStart(12, "0");
/** Of a flow, the n-th. */
const flowId = (n: number): MessageId => `${timeOf(n)}8000${"ab".repeat(8)}` as MessageId;
const flowMessage = (n: number) => messageOf(n, { id: flowId(n) });

const holding = (numbers: readonly number[], fields: Partial<ReadContents> = {}): ReadContents => ({
  messages: numbers.map(flowMessage),
  ...{ tombstones: [], unsettled: [], floor: undefined, barrier: "", ...fields },
});

const grant = (digest: string, pending?: string): Granted => ({
  kind: "granted",
  summary: { digest, messages: 0, tombstones: 0, octets: 0 },
  ...(pending !== undefined && { pending }),
});

/** The numbers that are unsure by these sets of the members that answered. */
function unsure(
  sets: readonly (readonly [{ uuid: MemberUuid }, ReadContents])[],
  of: Placement = placement,
): readonly number[] {
  const contents = sets.map(([, set]) => set);
  const known = unsureIn(unionOf(contents).messages, {
    placement: of,
    granted: new Map(sets.map(([{ uuid }], n) => [uuid, grant(`${n}`)])),
    sets: new Map(sets.map(([{ uuid }, set]) => [uuid, set])),
  });
  return [1, 2, 3].filter((n) => known.has(flowId(n)));
}

test("what one of two who answered has is unsure, what both have is not", () => {
  const answered = [
    [a, holding([1, 2])],
    [b, holding([2, 3])],
  ] as const;
  expect(unsure(answered)).toEqual([1, 3]);
});

test("two of three are a majority, whoever is asked third", () => {
  const answered = [
    [a, holding([1])],
    [b, holding([])],
    [c, holding([1])],
  ] as const;
  expect(unsure(answered)).toEqual([]);
});

test("what a member got behind a barrier does not count before the floor has come", () => {
  const barrier = timeOf(2);
  const pending = [
    [a, holding([1, 2])],
    [b, holding([1, 2], { barrier })],
  ] as const;
  expect(unsure(pending)).toEqual([1]);
  const spared = Buffer.from(flowId(1), "hex").toString("base64");
  const risen = [
    [a, holding([1, 2])],
    [b, holding([1, 2], { barrier, floor: { below: barrier, spared } })],
  ] as const;
  expect(unsure(risen)).toEqual([]);
});

test("where all answered the same, one set is read, and who is behind a barrier counts above it only", () => {
  const set = holding([1, 2]);
  const known = (pending?: string) =>
    unsureIn(set.messages, {
      placement,
      granted: new Map([
        [a.uuid, grant("same")],
        [b.uuid, grant("same", pending)],
      ]),
      sets: new Map([[a.uuid, set]]),
    });
  expect(known()).toEqual(new Set());
  expect(known(timeOf(2))).toEqual(new Set([flowId(1)]));
});

test("what one that was asked late has is not taken for what those have who answered the same", () => {
  const [set, late] = [holding([1]), holding([1, 2])];
  const known = unsureIn(unionOf([set, late]).messages, {
    placement,
    granted: new Map([
      [a.uuid, grant("same")],
      [b.uuid, grant("same")],
    ]),
    sets: new Map([
      [a.uuid, set],
      [c.uuid, late],
    ]),
  });
  expect(known).toEqual(new Set([flowId(2)]));
});

test("in a ring of two, one that is alone is sure; when both answer, one is not enough", () => {
  const two = placementOf(rosterOf([a, b]), 1n as RingId);
  expect(unsure([[a, holding([1])]], two)).toEqual([]);
  const both = [
    [a, holding([1])],
    [b, holding([])],
  ] as const;
  expect(unsure(both, two)).toEqual([1]);
});

test("mails that are of no flow are sure: they have no floor", () => {
  const mail = messageOf(7);
  const known = unsureIn([mail], {
    placement,
    granted: new Map([
      [a.uuid, grant("1")],
      [b.uuid, grant("2")],
    ]),
    sets: new Map([
      [a.uuid, { ...holding([]), messages: [mail] }],
      [b.uuid, holding([])],
    ]),
  });
  expect(known).toEqual(new Set());
});
