import { expect, test } from "vitest";
import type { Delivery, DeliveryAnswer, RecipientAnswer } from "../mailbox/ports.js";
import { quietLog } from "../replication/testing.js";
import type { MailboxName, MessageId } from "../shared/ids.js";
import type { GivenUpMail } from "./outgoing-worker.js";
import { createReports } from "./undelivered.js";

const id = "0".repeat(32) as MessageId;
const dayMs = 24 * 3_600_000;
const mail: GivenUpMail = {
  ...{ id, from: "alice@ring.test", to: "ann@else.test", receivedAtMs: 0 },
  ...{ octets: Buffer.from("Subject: s\r\n\r\n"), why: "550 5.1.1 no", isRefused: true },
};
const stored: DeliveryAnswer = { kind: "stored", ids: [id], copies: 2, copiesWanted: 3 };
const found: RecipientAnswer = { kind: "mailboxes", mailboxes: ["a", "b"] as MailboxName[] };

function reports(resolved: RecipientAnswer, answer: DeliveryAnswer = stored, nowMs = 2 * dayMs) {
  const deliveries: Delivery[] = [];
  const calls: string[] = [];
  const report = createReports({
    ...{ domain: "ring.test", hostName: "mx.ring.test", smartHost: "out.test", log: quietLog },
    clock: { wallMs: () => nowMs },
    receiver: {
      resolve: async (address) => {
        calls.push(`resolve ${address}`);
        return resolved;
      },
      deliver: async (delivery) => {
        deliveries.push(delivery);
        return answer;
      },
      settled: (ids, outcome) => calls.push(`settled ${ids.length} ${outcome}`),
    },
  });
  return { report, deliveries, calls };
}

test("to all that the sender's address leads to, from the null sender", async () => {
  const { report, deliveries, calls } = reports(found);
  await report(mail);
  expect(calls).toEqual(["resolve alice@ring.test", "settled 1 confirmed"]);
  expect(deliveries).toMatchObject([{ sender: "", mailboxes: ["a", "b"] }]);
});

test("nothing to the null sender", async () => {
  const { report, calls } = reports(found);
  await report({ ...mail, from: "" });
  expect(calls).toEqual([]);
});

test.each([
  ["undecided", { kind: "undecided" }, stored],
  ["no room yet", { kind: "overQuota" }, stored],
  ["not durable", found, { kind: "tempfail", why: "1 of 2" }],
  ["full", found, { kind: "full" }],
] as const)("%s: to be tried again", async (_what, resolved, answer) => {
  const { report, calls } = reports(resolved, answer);
  await expect(report(mail)).rejects.toThrow();
  expect(calls).toEqual(["resolve alice@ring.test"]);
});

test.each([
  ["unknown", { kind: "unknown" }, 0],
  ["disabled", { kind: "disabled" }, 0],
  ["no longer ours", { kind: "relay" }, 0],
  ["no room for days", { kind: "overQuota" }, 5 * dayMs],
] as const)("%s: nobody is told, and that is that", async (_what, resolved, nowMs) => {
  const { report, deliveries } = reports(resolved, stored, nowMs);
  await report(mail);
  expect(deliveries).toEqual([]);
});
