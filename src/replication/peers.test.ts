import { beforeEach, describe, expect, test } from "vitest";
import type { PeerHandlers } from "./peer-methods.js";
import { Peers } from "./peers.js";
import type { PeerMessage } from "./ports.js";
import { memberOf, settle } from "./testing.js";

const [self, other] = [memberOf(1), memberOf(2)];
const request = { epoch: 1, register: "account:ann@ring.test" };
let sent: string[];
let answer: (message: object) => void;
let peers: Peers;

beforeEach(() => {
  sent = [];
  peers = new Peers(self, {
    call: (_, method) => {
      sent.push(method);
      return new Promise((resolve) => {
        answer = (message) => resolve(message as PeerMessage);
      });
    },
  });
});

const ticks = (count: number): void => {
  for (let n = 0; n < count; n += 1) peers.liveness.tick([other.uuid]);
};

/** How a call ended: its answer, why it failed, or "waits". */
async function ending(call: Promise<unknown>): Promise<unknown> {
  let end: unknown = "waits";
  call.then(
    (reply) => {
      end = reply;
    },
    (error: { reason?: string }) => {
      end = error.reason;
    },
  );
  await settle();
  return end;
}

describe("a member that misses its beats", () => {
  test("does not hold up who has asked it", async () => {
    const call = peers.call(other, "readRegister", request);
    ticks(4);
    expect(await ending(call)).toBe("waits");
    ticks(1);
    expect(await ending(call)).toBe("deadline");
  });

  test("is not asked", async () => {
    ticks(5);
    expect(await ending(peers.call(other, "readRegister", request))).toBe("unreachable");
    expect(sent).toEqual([]);
  });

  test("is asked with a deadline of the caller's own: so it is heard again", async () => {
    ticks(5);
    const call = peers.call(
      other,
      "beat",
      { boot: "b", epoch: 1, ringMs: 0 },
      { deadlineMs: 1_000 },
    );
    expect(await ending(call)).toBe("waits");
    answer({ boot: "c", epoch: 1 });
    expect(await ending(call)).toEqual({ boot: "c", epoch: 1 });
  });

  test("is asked again when it was heard", async () => {
    ticks(5);
    peers.liveness.heard(other.uuid);
    const call = peers.call(other, "readRegister", request);
    expect(await ending(call)).toBe("waits");
    answer({ kind: "register" });
    expect(await ending(call)).toEqual({ kind: "register" });
  });
});

describe("what a member asks itself", () => {
  const asked = (): Promise<unknown> => peers.call(self, "readRegister", request);

  test("fails when its disk hangs, later than others give it up", async () => {
    peers.serve({ readRegister: () => new Promise(() => undefined) } as unknown as PeerHandlers);
    const call = asked();
    ticks(59);
    expect(await ending(call)).toBe("waits");
    ticks(1);
    expect(await ending(call)).toBe("deadline");
  });

  test("is answered as soon as it can be, and nothing is left behind", async () => {
    const reply = { kind: "register" };
    peers.serve({ readRegister: () => Promise.resolve(reply) } as unknown as PeerHandlers);
    expect(await asked()).toEqual(reply);
    ticks(100);
    expect(await asked()).toEqual(reply);
  });
});
