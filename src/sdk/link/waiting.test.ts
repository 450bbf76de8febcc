import { expect, test } from "vitest";
import type { OutMessage } from "../journal/out-state.js";
import { Load } from "./load.js";
import { Waiting } from "./waiting.js";

function loadOf(number: number, octets: number): Load {
  const message = { stream: "main", sequence: number, octets, isVoid: false, isRemoved: false };
  return new Load({ ...message, properties: { sentAtMs: 0 } } as unknown as OutMessage, number);
}

const room = { roomOctets: 100_000, windowOctets: Infinity, framesMax: 10 };

test.each([
  ["that fits a packet is not cut to fill up this one", 150_000, 200_000, [1]],
  ["where nobody minds is cut", 150_000, 0, [1, 2]],
  ["that fits no packet is cut in any case", 250_000, 200_000, [1, 2]],
])("behind a small message, a large one %s", (_, octets, wholeOctets, together) => {
  const waiting = new Waiting();
  waiting.wholeOctets = wholeOctets;
  waiting.addFresh(loadOf(1, 100));
  waiting.addFresh(loadOf(2, octets));
  expect(waiting.choose(room).map(({ load }) => load.number)).toEqual(together);
});
