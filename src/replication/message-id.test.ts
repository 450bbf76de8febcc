import fc from "fast-check";
import { expect, test } from "vitest";
import { messageIdMaker } from "./message-id.js";
import { zeros } from "./testing.js";

test("ids are UUIDv7 (RFC 9562 §5.7): time, version, counter, variant", () => {
  const clock = { nowMs: () => 0x0123456789ab };
  const next = messageIdMaker(clock, { bytes: (n) => Buffer.alloc(n, 0xff) });
  expect(next()).toBe("0123456789ab7000bfffffffffffffff");
  expect(next()).toBe("0123456789ab7001bfffffffffffffff");
});

test("ids rise, whatever the clock does and the dice show", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(50), { minLength: 2, maxLength: 50 }),
      fc.nat(5_000),
      (times, n) => {
        let nowMs = 0;
        const next = messageIdMaker({ nowMs: () => nowMs }, zeros);
        const ids: string[] = [];
        for (const time of times) {
          nowMs = 1_000 + time;
          ids.push(next());
        }
        for (let i = 0; i < n; i += 1) ids.push(next());
        for (const [index, id] of ids.entries()) {
          expect(id).toMatch(/^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
          if (index > 0) expect(id > (ids[index - 1] ?? "")).toBe(true);
        }
      },
    ),
    { numRuns: 20 },
  );
});
