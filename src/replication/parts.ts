/** The parts of replication, put together layer by layer: each knows those before it. */
import { Bodies } from "./bodies.js";
import { Coordinator } from "./delivery.js";
import { Departures } from "./departures.js";
import { Doubts } from "./doubts.js";
import { Driver } from "./driver.js";
import { defaultFloorLimits, Floors } from "./floors.js";
import { Groups } from "./group.js";
import { Heartbeat } from "./heartbeat.js";
import { Joining } from "./joining.js";
import { LockTable } from "./locks.js";
import { Maildrops } from "./maildrops.js";
import { Membership } from "./membership.js";
import { Mending } from "./mending.js";
import { messageIdMaker } from "./message-id.js";
import type { ReplicationOptions } from "./options.js";
import { Pace } from "./pace.js";
import { Peers } from "./peers.js";
import { Puller } from "./pull.js";
import { RegisterNews } from "./register-news.js";
import { Registers } from "./registers.js";
import { Repair } from "./repair.js";
import { Retries } from "./retries.js";
import { RingClock } from "./ring-clock.js";
import { memberByUuid } from "./roster.js";
import { Round } from "./round.js";
import { Settlements } from "./settlements.js";
import { SharedNames } from "./shared-names.js";
import { Survey } from "./survey.js";
import { Transfer } from "./transfer.js";

type Consensus = ReturnType<typeof consensusOf>;
type Copying = ReturnType<typeof copyingOf>;
type Mail = ReturnType<typeof mailOf>;
export type Parts = ReturnType<typeof partsOf>;

export function partsOf(options: ReplicationOptions) {
  const consensus = consensusOf(options);
  const copying = { ...consensus, ...copyingOf(options, consensus) };
  const mail = { ...copying, ...mailOf(options, copying) };
  return { ...mail, ...membersOf(options, mail) };
}

/** Who the members are, what they agree on, and what time it is. */
function consensusOf({ self, ring, store, caller, clock, random, log }: ReplicationOptions) {
  const boot = random.bytes(8).toString("hex");
  const ringClock = new RingClock(clock);
  const peers = new Peers({ uuid: self.uuid, addr: self.addr }, caller);
  const membership = new Membership({ ring, store, peers, log });
  const groups = new Groups(peers, membership);
  const registers = new Registers(self.uuid, groups, clock, random);
  membership.use(registers);
  return {
    ...{ boot, ringClock, peers, membership, groups, registers },
    newMessageId: messageIdMaker(ringClock, random),
    news: new RegisterNews(peers, membership),
    /** Ends the background work. */
    stopping: new AbortController(),
  };
}

/** How copies are made equal, move, and are forgotten. */
function copyingOf(options: ReplicationOptions, before: Consensus) {
  const { self, store, files, clock, random, log, timings } = options;
  const { peers, membership, groups, registers, ringClock, news } = before;
  const retries = new Retries(() => clock.monotonicMs());
  const bodies = new Bodies({ store, files, peers, clock, log });
  const pace = new Pace(clock, options.pace);
  const puller = new Puller({ store, peers, bodies, retries, pace });
  const names = new SharedNames(self.uuid, store, groups);
  const shared = { membership, groups, registers, store, puller, clock, log };
  const floors = new Floors({
    ...{ groups, peers, registers, store, clock, random, log },
    ringMs: () => ringClock.nowMs(),
    tell: (register) => news.tell(register),
    limits: options.floors ?? defaultFloorLimits,
  });
  news.onChanged((register) => floors.heard(register));
  const repair = new Repair({
    ...{ ...shared, names, random },
    onDropped: (mailbox) => floors.forget(mailbox),
  });
  const repairRound = new Round({
    ...{ clock, log, intervalMs: timings.repairIntervalMs },
    run: async () => {
      for (const member of membership.roster.members) {
        if (peers.isSelf(member.uuid) || peers.liveness.isQuiet(member.uuid)) continue;
        await repair.compareWith(member);
      }
    },
  });
  const transfer = new Transfer(shared);
  return { retries, bodies, pace, puller, names, floors, repair, repairRound, transfer };
}

/** A mail's way in, its reader, and what became of the acknowledgement. */
function mailOf(options: ReplicationOptions, before: Consensus & Copying) {
  const { store, files, clock, log, timings, self } = options;
  const { boot, peers, membership, groups, ringClock, stopping } = before;
  const { retries, bodies, puller, floors, repairRound } = before;
  return {
    locks: new LockTable(self.uuid, timings.leaseMs, () => clock.monotonicMs()),
    doubts: new Doubts({ ...{ retries, store, peers, clock, log }, stopping: stopping.signal }),
    settlements: new Settlements(peers, groups, clock),
    coordinator: new Coordinator({
      ...{ peers, groups, store, files, log },
      view: membership,
      onSunk: (ms) => ringClock.hear(ms),
      isDown: ({ uuid, addr }) => options.isDown(addr) || peers.liveness.isQuiet(uuid),
    }),
    maildrops: new Maildrops({
      ...{ peers, groups, store, files, bodies, puller, retries, clock, log, boot },
      barrier: (mailbox) => floors.barrier(mailbox),
      onDifference: () => repairRound.wake(),
    }),
  };
}

/** Who lives, comes and goes, and what operators ask of the copies. */
function membersOf(options: ReplicationOptions, before: Consensus & Copying & Mail) {
  const { self, store, clock, log, timings } = options;
  const { boot, ringClock, peers, membership, groups, repairRound } = before;
  const { bodies, puller, names, locks, doubts, maildrops } = before;
  const heartbeat = new Heartbeat({
    ...{ membership, peers, locks, clock, ringClock, boot },
    deadlineMs: 1_000,
    onHeard: ({ uuid }, restarted) => {
      const member = memberByUuid(membership.roster, uuid);
      if (!member) return;
      if (restarted) maildrops.assertAt(member);
      repairRound.wake();
    },
    // Those whose mail it was about to acknowledge go to another member, and that soon.
    onQuiet: (uuid) => doubts.coordinatorGone(uuid),
  });
  return {
    heartbeat,
    driver: new Driver({ membership, groups, peers, log, ...timings, heartbeat }),
    departures: new Departures({ membership, groups, peers, clock, heartbeat }),
    joining: new Joining({ self, membership, peers, clock, log }),
    survey: new Survey({ membership, groups, heartbeat, names, store, clock }),
    mending: new Mending({
      ...{ membership, groups, heartbeat, store, bodies, puller, clock, log },
    }),
  };
}
