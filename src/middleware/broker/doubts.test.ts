import { expect, test } from "vitest";
import type { Frame } from "../../ebm/index.js";
import { quietLog } from "../../replication/testing.js";
import type { MailboxName, MemberUuid, MessageId } from "../../shared/ids.js";
import { broughtBy } from "./brought.js";
import { Doubts } from "./doubts.js";
import {
  type Destination,
  emptyFlow,
  type FlowState,
  judge,
  type PlannedBody,
  renewed,
} from "./flow.js";
import { entryId, plan } from "./planning.js";

const queues: readonly Destination[] = ["a", "b"].map((queue) => ({
  ...{ queue, exclusive: false, incarnation: "1" },
  mailbox: `${queue}@ring.test/queue` as MailboxName,
}));
const octets = Buffer.from("hello");
const hello: Frame = {
  ...{ kind: "data", stream: "main", sequence: 1, id: "m1", offset: 0, size: 5, octets },
  properties: { sentAtMs: 0 },
};
const brought = broughtBy([hello], 1);

/** What was agreed on has come to the first queue only; then a node makes sure of it. */
class Half {
  readonly flow: { state: FlowState };
  readonly deleted = new Set<MailboxName>();
  readonly voided = new Map<MailboxName, readonly MessageId[]>();
  readonly live = new Set<MailboxName>();
  /** Changes of the register that are still answered. */
  changes = Infinity;
  voids = Infinity;
  /** Before the register is changed. */
  meanwhile = (): void => undefined;

  constructor() {
    const planned = plan(emptyFlow(1), {
      ...{ brought, frames: brought.frames, routesOf: () => queues },
      facts: {
        ...{ nonce: "n1", flow: "80f10f10f1", idMs: 1_000, takenAtMs: 0, kid: "k", codec: "z" },
        coordinator: "u1" as MemberUuid,
      },
    });
    if (planned.kind === "refused") throw new Error(planned.why);
    this.flow = { state: planned.state };
    this.live.add(queues[0]?.mailbox as MailboxName);
  }

  async makeSure() {
    const { last } = this.flow.state;
    if (!last) throw new Error("nothing is in doubt");
    const isKnown = (mailbox: MailboxName): boolean =>
      this.live.has(mailbox) || this.deleted.has(mailbox);
    const doubts = new Doubts({
      registers: {
        change: (async (_: string, change: (value: unknown) => { set?: { value: unknown } }) => {
          this.meanwhile();
          if ((this.changes -= 1) < 0) return { kind: "undecided" };
          const { set, ...rest } = change(this.flow.state);
          if (set) this.flow.state = set.value as FlowState;
          return { kind: "changed", value: this.flow.state, ...rest };
        }) as never,
      },
      queues: { recall: async () => ({ kind: "found", value: { incarnation: "1" } }) } as never,
      durable: {
        isKnown: async (mailbox: MailboxName) => (isKnown(mailbox) ? "yes" : "no"),
        void: async (mailbox: MailboxName, ids: readonly MessageId[]) => {
          if ((this.voids -= 1) < 0) return false;
          this.voided.set(mailbox, ids);
          this.live.delete(mailbox);
          this.deleted.add(mailbox);
          return true;
        },
      } as never,
      clock: { wallMs: () => 3_600_000 } as never,
      log: quietLog,
    });
    return doubts.makeSure("flow:x", last, true);
  }

  get verdict(): string {
    return judge(this.flow.state, brought, () => false).kind;
  }
}

test("what came to one of two queues is deleted there and wanted again", async () => {
  const half = new Half();
  expect(await half.makeSure()).toBe("void");
  expect([half.live.size, half.deleted.size]).toEqual([0, 2]);
  expect(half.verdict).toBe("new");
});

test("what was delivered before the rest was begun anew is deleted with it", async () => {
  const half = new Half();
  const [first, second] = queues.map(({ mailbox }) => mailbox) as [MailboxName, MailboxName];
  const { last } = half.flow.state;
  if (!last) throw new Error("nothing is intended");
  const idIn = (of: typeof last, number: number): MessageId =>
    entryId(of, of.bodies[0] as PlannedBody, queues[number] as Destination);
  const isLacking = (_: unknown, number: number): boolean => number === 1;
  half.flow.state = renewed(half.flow.state, last, { nonce: "n2", idMs: 2_000, isLacking });
  expect(await half.makeSure()).toBe("void");
  const begunAnew = { ...last, nonce: "n2", idMs: 2_000 };
  expect(half.voided.get(first)).toEqual([idIn(last, 0)]);
  expect(half.voided.get(second)).toEqual([idIn(begunAnew, 1)]);
});

test.each([
  ["before it is marked", { changes: 0 }],
  ["before anything is deleted", { voids: 0 }],
  ["when one copy is deleted", { voids: 1 }],
  ["when all is deleted", { changes: 1 }],
])("who dies %s leaves nothing that the next one takes for delivered", async (_, dies) => {
  const half = Object.assign(new Half(), dies);
  expect(await half.makeSure()).toMatchObject({ kind: "refused", code: "undecided" });
  // The same packet comes again, or another: neither is told that it was taken.
  expect(["again", "unsure"]).toContain(half.verdict);
  Object.assign(half, { changes: Infinity, voids: Infinity });
  expect(await half.makeSure()).toBe("void");
  expect(half.live.size).toBe(0);
  expect(half.verdict).toBe("new");
});

test("what somebody delivers and goes on from meanwhile is not deleted", async () => {
  const half = new Half();
  half.meanwhile = () => {
    for (const { mailbox } of queues) half.live.add(mailbox);
    const { last: _, ...state } = half.flow.state;
    half.flow.state = state;
  };
  expect(await half.makeSure()).toBe("void");
  expect([half.live.size, half.deleted.size]).toEqual([2, 0]);
});

test("a packet whose intention is void is not delivered again as it was", async () => {
  const half = Object.assign(new Half(), { voids: 0 });
  expect(half.verdict).toBe("again");
  await half.makeSure();
  expect(judge(half.flow.state, brought, () => true).kind).toBe("unsure");
});
