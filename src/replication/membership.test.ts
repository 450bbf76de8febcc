import { expect, test } from "vitest";
import type { Operation } from "../shared/operation.js";
import { Membership } from "./membership.js";
import { Peers } from "./peers.js";
import type { PeerCaller, PeerMessage, Store } from "./ports.js";
import { memberOf, quietLog, rosterOf, settle } from "./testing.js";
import { rosterToJson } from "./roster.js";

const [self, other] = [memberOf(1), memberOf(2)];
const unused: PeerCaller = { call: () => Promise.reject(new Error("silent")) };

test("of two rosters that come at once, the newer is the last on disk", async () => {
  const written: Operation[] = [];
  const store = {
    local: () => undefined,
    write: async (operations: readonly Operation[]) => {
      written.push(...operations);
      await settle();
    },
  };
  const membership = new Membership({
    ring: rosterOf([]).ring,
    store: store as unknown as Store,
    peers: new Peers(self, unused),
    log: quietLog,
  });
  await Promise.all([
    membership.learn(rosterToJson(rosterOf([self, other], 2, 6))),
    membership.learn(rosterToJson(rosterOf([self], 2, 5))),
  ]);
  const epochs = written.map(
    (operation) => operation.kind === "PutLocal" && (operation.value as { epoch: number }).epoch,
  );
  expect(epochs.at(-1)).toBe(6);
  expect(membership.roster.epoch).toBe(6);
});

test("a call reaches only the member that it is meant for", async () => {
  const sent: PeerMessage[] = [];
  const caller: PeerCaller = {
    call: (_, __, request) => {
      sent.push(request);
      return Promise.resolve({});
    },
  };
  await new Peers(self, caller).call(other, "roster", {});
  const tenant = new Peers({ ...other, uuid: memberOf(9).uuid }, caller);
  const addressee = new Peers(other, caller);
  for (const peers of [tenant, addressee]) {
    peers.serve({ roster: () => ({ roster: "mine" }) } as never);
  }
  const [request = {}] = sent;
  await expect(addressee.incoming(self, "roster", request)).resolves.toEqual({ roster: "mine" });
  await expect(tenant.incoming(self, "roster", request)).rejects.toThrow("not the one");
  await expect(addressee.incoming(self, "constructor", request)).rejects.toThrow("unknown method");
});
