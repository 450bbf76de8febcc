/** What another member says of the ring: checked, or refused by reason; never thrown at us. */
import fc from "fast-check";
import { encodeRingMessage, idsWithin, parseRingMessage } from "../../src/ring/message.js";
import { check, fuzzer } from "./fuzzer.js";

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    null,
    -1,
    1.5,
    2 ** 53,
    "",
    "-1",
    "0x10",
    "١",
    "9".repeat(60),
    [],
    {},
    "a b",
    "\u0000",
  ),
);
const rarely = (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary }, { weight: 1, arbitrary: junk });

const id = rarely(fc.bigInt({ min: 0n, max: (1n << 165n) - 1n }).map(String));
const member = rarely(
  fc.record({ id, addr: rarely(fc.constant("10.0.0.1:5000")), uuid: rarely(fc.constant("u-1")) }),
);
const members = rarely(fc.array(member, { maxLength: 70, size: "small" }));
const ring = rarely(
  fc.record({ protocol: rarely(fc.nat()), bits: rarely(fc.nat(160)), replicas: rarely(fc.nat(9)) }),
);
const kind = rarely(
  fc.constantFrom(
    ...["hello", "state", "ping", "find", "notify", "welcome", "view", "pending", "pong"],
    ...["found", "noted", "absent", "refused"],
  ),
);
const message = fc.record({
  kind,
  ...{ ring, from: member, self: member, predecessor: fc.option(member), successors: members },
  ...{ known: members, preceding: members, key: id, member: fc.boolean() },
  code: rarely(fc.constantFrom("wrong-ring", "duplicate-id", "malformed")),
  reason: rarely(fc.string({ unit: "binary", maxLength: 30 })),
});

export const ringMessage = fuzzer({
  name: "ring-message",
  testRuns: 2_000,
  inputs: fc.oneof(message, junk),
  run(value) {
    const parsed = parseRingMessage(value);
    if (!parsed.ok) {
      check(/^[ -~]{1,200}$/.test(parsed.error), () => `not one line: ${parsed.error}`);
      return;
    }
    check(typeof idsWithin(parsed.message, 160) === "boolean", () => "no answer");
    const wire = JSON.stringify(encodeRingMessage(parsed.message));
    check(/^[ -~]*$/.test(wire), () => `not printable: ${wire}`);
    const again = parseRingMessage(JSON.parse(wire));
    check(again.ok, () => `not read again: ${wire}`);
    check(JSON.stringify(encodeRingMessage(again.message)) === wire, () => `changed: ${wire}`);
  },
});
