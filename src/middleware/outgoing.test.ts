import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Delivery, DeliveryAnswer } from "../mailbox/ports.js";
import { isQueueName } from "../mailbox/folders.js";
import { envelopeIn, outgoingMailbox, submittedMailbox } from "../mailbox/outgoing-mail.js";
import type { MessageId } from "../shared/ids.js";
import { limits } from "../shared/limits.js";
import { spoolFiles } from "../store/spool-files.js";
import { createOutgoing, noOutgoing } from "./outgoing.js";

const folder = mkdtempSync(join(tmpdir(), "ringpost-outgoing-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const id = "0".repeat(32) as MessageId;
const stored: DeliveryAnswer = { kind: "stored", ids: [id], copies: 2, copiesWanted: 3 };
let serial = 0;

function outgoingWith(answer: DeliveryAnswer = stored, room: "fits" | "full" = "fits") {
  const calls: string[] = [];
  const deliveries: Delivery[] = [];
  const outgoing = createOutgoing({
    domain: "ring.test",
    quotas: { check: async () => room },
    receiver: {
      spoolPath: () => join(folder, String(serial++)),
      deliver: async (delivery) => {
        deliveries.push(delivery);
        calls.push("deliver");
        return answer;
      },
      settled: (ids, outcome) => calls.push(`settled ${ids.length} ${outcome}`),
    },
    files: spoolFiles,
    onAdded: () => calls.push("added"),
  });
  return { outgoing, calls, deliveries };
}

const octets = Buffer.from("Subject: s\r\n\r\nb\r\n");

test("it is durable before the worker is told, and known to be no retry of anything", async () => {
  const { outgoing, calls, deliveries } = outgoingWith();
  await outgoing.send({ to: "ann@else.test", octets });
  expect(calls).toEqual(["deliver", "settled 1 confirmed", "added"]);
  const [delivery] = deliveries;
  const mailbox = outgoingMailbox("ring.test");
  expect(delivery?.mailboxes).toEqual([mailbox]);
  expect(delivery?.body).toMatchObject({ kind: "bytes", bytes: octets });
  const envelope = envelopeIn(delivery?.traceFor(mailbox, id) ?? "");
  expect(envelope).toMatchObject({ to: "ann@else.test", from: "" });
});

test.each([outgoingMailbox, submittedMailbox])("nobody can declare the queue it waits in", (of) => {
  const [name = ""] = of("ring.test").split("@");
  expect(isQueueName(name)).toBe(false);
});

test("a large mail goes through a file", async () => {
  const { outgoing, deliveries } = outgoingWith();
  const large = Buffer.alloc(limits.inlineBodyOctetsMax + 1, "x");
  await outgoing.send({ to: "ann@else.test", octets: large });
  expect(deliveries[0]?.body).toMatchObject({ kind: "file", octets: large.length });
});

describe("what is not kept is refused, and says why", () => {
  test.each([
    [{ kind: "tempfail", why: "1 of 2" }, "undecided"],
    [{ kind: "full" }, "full"],
    [{ kind: "overQuota" }, "full"],
  ] as const)("%j", async (answer, code) => {
    const { outgoing, calls } = outgoingWith(answer);
    await expect(outgoing.send({ to: "ann@else.test", octets })).rejects.toMatchObject({ code });
    expect(calls).toEqual(["deliver"]);
  });

  test("no room: nothing is written", async () => {
    const { outgoing, calls } = outgoingWith(stored, "full");
    const large = Buffer.alloc(limits.inlineBodyOctetsMax + 1, "x");
    const before = readdirSync(folder);
    const sent = outgoing.send({ to: "ann@else.test", octets: large });
    await expect(sent).rejects.toMatchObject({ code: "full" });
    expect(calls).toEqual([]);
    expect(readdirSync(folder)).toEqual(before);
  });

  test.each([
    "",
    "ann",
    "ann@",
    "a b@else.test",
    "a@b\r\nRCPT TO:<c@d>",
    `${"x".repeat(300)}@y.test`,
  ])("to %j", async (to) => {
    const { outgoing, calls } = outgoingWith();
    await expect(outgoing.send({ to, octets })).rejects.toMatchObject({ code: "invalid" });
    expect(calls).toEqual([]);
  });

  test("without a relay", async () => {
    const sent = noOutgoing.send({ to: "ann@else.test", octets });
    await expect(sent).rejects.toMatchObject({ code: "off" });
  });
});
