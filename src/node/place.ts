/** A member's place in the ring: how it gets one, keeps it over a restart, and loses it. */
import type { NodeConfig } from "../config/index.js";
import { JoinRefusedError } from "../replication/joining.js";
import type { Replication } from "../replication/replication.js";
import { memberByUuid, type Roster } from "../replication/roster.js";
import { createRing } from "../ring/actor.js";
import type { MemberRef } from "../ring/member.js";
import type { Ring, StartMode } from "../ring/ports.js";
import type { PeerTransport } from "../rpc/index.js";
import type { Address, MemberUuid } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { DurableStore } from "../store/index.js";
import { NodeStartError, refuseOtherRing } from "./identity.js";
import { clock } from "./system.js";

const joinGiveUpMs = 10_000;
/** A member that is neither there nor refuses holds up a start no longer. */
const noticedWithinMs = 2_000;

interface PlaceOptions {
  readonly self: MemberRef;
  readonly config: NodeConfig;
  readonly store: DurableStore;
  readonly replication: Replication;
  readonly transport: PeerTransport;
  /** Ends what waits. */
  readonly stopping: AbortSignal;
  /** The node can't go on. */
  readonly onFailure: (error: Error) => void;
  /** Taken out of the ring by agreement. */
  readonly onLeft: () => void;
  readonly log: Log;
}

export class Place {
  readonly ring: Ring;
  private refuse: (error: Error) => void = () => undefined;
  /** Members whose connection to this one stands. */
  private readonly greeted = new Set<MemberUuid>();

  constructor(private readonly options: PlaceOptions) {
    this.ring = this.createRing();
    const { membership } = options.replication;
    membership.onChange((roster, before) => this.rosterChanged(roster, before));
  }

  /** Opens the data's ring, or joins one, or begins one. @throws as `startNode` */
  async take(): Promise<void> {
    const { config } = this.options;
    if (this.isMember) await this.resume();
    else if (config.entries.length === 0) await this.found();
    else await this.join(config.entries);
  }

  /** Before anything is opened. @throws NodeStartError for data of another ring */
  refuseOtherRing(): void {
    const { config, replication } = this.options;
    if (this.isMember) refuseOtherRing(config, replication.roster);
  }

  private get isMember(): boolean {
    return this.options.replication.roster.epoch > 0;
  }

  private get others(): Roster["members"] {
    const { replication, self } = this.options;
    return replication.roster.members.filter(({ uuid }) => uuid !== self.uuid);
  }

  peerGreeted(uuid: MemberUuid): void {
    this.greeted.add(uuid);
  }

  peerGone(uuid: MemberUuid): void {
    this.greeted.delete(uuid);
  }

  private createRing(): Ring {
    const { self, config, log, onFailure } = this.options;
    const { bits, replicas } = config;
    return createRing(
      {
        self,
        parameters: { bits, replicas },
        known: this.others.map(refOf),
        onDuplicate: (reason) => onFailure(new NodeStartError(reason)),
      },
      {
        call: (addr, message, options) => this.callRing(addr, message, options),
        setTimer: (ms, run) => {
          const timer = setTimeout(run, ms);
          return () => clearTimeout(timer);
        },
        random: () => Math.random(),
        persistCache: (members) => this.rememberKnown(members),
        log,
      },
    );
  }

  private async callRing(
    addr: Address,
    message: unknown,
    options: { readonly deadlineMs: number },
  ): Promise<unknown> {
    try {
      return await this.options.transport.callRing(addr, message, options);
    } catch (error) {
      // Another ring, or another version: no other try will help.
      const [, reason] = /refused: (.+)/.exec(asError(error).message) ?? [];
      if (reason) this.refuse(new NodeStartError(`${addr} refuses this member: ${reason}`));
      throw error;
    }
  }

  /** For the day when the roster's members have all moved; losing it is harmless. */
  private rememberKnown(members: readonly MemberRef[]): void {
    const { store, log } = this.options;
    const value = members.map(({ id, addr, uuid }) => ({ id: id.toString(), addr, uuid }));
    store.write([{ kind: "PutLocal", key: "known", value }]).catch((error: unknown) => {
      log.warn({ error: String(error) }, "the known members could not be kept");
    });
  }

  /**
   * A client's first question may need a majority, and whoever hears that this member is ready may
   * take the next one down: so the connections to the others, and theirs to this one, come first.
   */
  async heardByOthers(): Promise<void> {
    const { transport, stopping } = this.options;
    const isSettled = ({ uuid, addr }: MemberRef): boolean =>
      transport.isDown(addr) || (transport.isUp(addr) && this.greeted.has(uuid));
    const giveUpAtMs = clock.monotonicMs() + noticedWithinMs;
    while (!this.others.every(isSettled) && clock.monotonicMs() < giveUpAtMs) {
      await clock.sleep(20, stopping);
    }
  }

  private async found(): Promise<void> {
    const { replication, self, store } = this.options;
    await replication.membership.found(self);
    await this.ring.start({ kind: "first" });
    replication.start(store.lastMessages);
  }

  private async join(entries: readonly Address[]): Promise<void> {
    const { replication, store, stopping } = this.options;
    const refused = new Promise<never>((_, reject) => {
      this.refuse = reject;
    });
    await Promise.race([this.ring.start({ kind: "join", entries }), refused]);
    const { joining } = replication;
    await joining.join(entries, joinGiveUpMs, stopping);
    replication.start(store.lastMessages);
    await joining.untilActive(stopping);
  }

  /** A restart with data: this node is a member; it needs nobody's leave to come back. */
  private async resume(): Promise<void> {
    const { replication, config, self, store, stopping, onFailure } = this.options;
    const { membership } = replication;
    replication.start(store.lastMessages);
    const { others } = this;
    const entries = [...others.map(({ addr }) => addr), ...config.entries];
    const alone = others.length === 0 && membership.selfMember !== undefined;
    const mode: StartMode = alone ? { kind: "first" } : { kind: "resume", entries };
    void this.ring.start(mode).catch((error: unknown) => {
      if (!stopping.aborted) onFailure(asError(error));
    });
    if (membership.selfMember?.addr !== self.addr) this.rejoin(entries);
    if (membership.selfMember?.state === "joining") await replication.joining.untilActive(stopping);
  }

  /** Evicted while it was away, or at a new address: it asks to be taken (back) in. */
  private rejoin(entries: readonly Address[]): void {
    const { replication, stopping, onFailure } = this.options;
    replication.joining
      .join(entries, Number.POSITIVE_INFINITY, stopping)
      .catch((error: unknown) => onFailure(asError(error)));
  }

  private rosterChanged(roster: Roster, before: Roster): void {
    const { ring } = this;
    const { self, log, onLeft } = this.options;
    for (const member of before.members) {
      if (!memberByUuid(roster, member.uuid)) ring.forget(member.uuid);
    }
    ring.learn(roster.members.filter(({ uuid }) => uuid !== self.uuid).map(refOf));
    const was = memberByUuid(before, self.uuid);
    if (!was || memberByUuid(roster, self.uuid)) return;
    if (was.state === "leaving" && !was.evicted) {
      log.info({ id: self.id.toString() }, "left the ring");
      onLeft();
      return;
    }
    log.warn({}, "taken off the roster while silent; joining anew");
    this.rejoin(roster.members.map(({ addr }) => addr));
  }
}

const refOf = ({ id, addr, uuid }: MemberRef): MemberRef => ({ id, addr, uuid });

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new JoinRefusedError(String(error));
