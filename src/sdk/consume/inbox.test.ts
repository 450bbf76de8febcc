import { afterEach, expect, test } from "vitest";
import type { InboundMessage, IsWanted, Link } from "../link/ports.js";
import { Inbox, type Kind } from "./inbox.js";

const closing = new AbortController();
afterEach(() => closing.abort());

function messageOf(kind: Kind, sequence: number): InboundMessage {
  const origin = { user: "ann@ring.test", device: "d", epoch: 1 };
  return {
    ...{ origin, stream: kind, sequence, id: `${kind} ${sequence}`, octets: 1, redelivered: 0 },
    ...{ properties: { sentAtMs: 0, kind }, body: async () => Buffer.from("x") },
  };
}

test("what nobody consumes, however much of it comes, keeps nothing else waiting", async () => {
  const there = [
    Array.from({ length: 12_000 }, (_, at) => messageOf("request", at + 1)),
    [messageOf("message", 1)],
  ];
  /** In order per stream, as the link hands out. */
  const take = (max: number, isWanted: IsWanted = () => true): InboundMessage[] => {
    const taken: InboundMessage[] = [];
    for (const stream of there) {
      const [first] = stream;
      if (first && isWanted(first.properties)) taken.push(...stream.splice(0, max - taken.length));
    }
    return taken;
  };
  const link = { take, consume: async () => undefined, giveBack: () => undefined };
  const { signal } = closing;
  const inbox = new Inbox({
    link: link as unknown as Link,
    ...{ closing: signal, onConsumer: () => undefined },
  });
  const messages = inbox.consume("message")[Symbol.asyncIterator]();
  expect((await messages.next()).value).toMatchObject({ id: "message 1" });
  // Whoever consumes the others later has all of them.
  let last = 0;
  for await (const request of inbox.consume("request", { autoAck: true })) {
    expect(request.sequence).toBe((last += 1));
    if (last === 12_000) break;
  }
});
