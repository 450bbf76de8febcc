/** One member, put together: the only place that knows every room. */
import { formatEndpoint, type NodeConfig } from "./config/index.js";
import { Accounts } from "./mailbox/accounts.js";
import { Mailboxes } from "./mailbox/mailboxes.js";
import { Passwords } from "./mailbox/passwords.js";
import { keepId, NodeStartError, ownId, refuseOtherRing } from "./node/identity.js";
import { opened, probeListeners } from "./node/listeners.js";
import { createMailPop3Server } from "./node/mail-pop3.js";
import { configuredTls } from "./node/mail-tls.js";
import { clock, random } from "./node/system.js";
import { memberStatus, type MemberFacts } from "./operator/member-status.js";
import { Operator } from "./operator/operator.js";
import { JoinRefusedError } from "./replication/joining.js";
import { defaultTimings, Replication } from "./replication/replication.js";
import { memberByUuid, type Roster } from "./replication/roster.js";
import { createRing } from "./ring/actor.js";
import type { MemberRef } from "./ring/member.js";
import type { Ring, StartMode } from "./ring/ports.js";
import {
  createPeerTransport,
  createRpcServer,
  type PeerTransport,
  type RpcServer,
} from "./rpc/index.js";
import type { Address, MemberUuid, RingId } from "./shared/ids.js";
import type { Log } from "./shared/log.js";
import { createSmtpServer, type SmtpServer } from "./smtp/server.js";
import { type DurableStore, openStore } from "./store/index.js";
import { spoolFiles } from "./store/spool-files.js";

export interface RunningNode {
  readonly info: {
    readonly id: string;
    readonly addr: string;
    readonly smtp: string;
    readonly pop3: string;
    /** Absent: it is off, or there is no certificate. */
    readonly pop3s?: string;
  };
  /** Drains and stops; the ring is not told, the data stays. Idempotent. */
  stop(): Promise<void>;
  /** Resolves when the node can't go on. */
  readonly failed: Promise<Error>;
  /** Resolves when the node was taken out of the ring by agreement. */
  readonly left: Promise<void>;
}

const joinGiveUpMs = 10_000;

/**
 * Opens the data, joins or resumes the ring, and opens the listeners. Resolves when all of that
 * is done; a ring that is busy with another joiner is waited for.
 * @throws NodeStartError, StoreLockedError, StoreVersionError, ListenError, JoinRefusedError,
 *   RingJoinError
 */
export async function startNode(config: NodeConfig, log: Log): Promise<RunningNode> {
  const store = await openStore({ directory: config.dataDir, log });
  const node = new Node(config, log, store);
  try {
    await node.start();
    return node;
  } catch (error) {
    await node.stop().catch(() => undefined);
    throw error;
  }
}

class Node implements RunningNode {
  readonly failed: Promise<Error>;
  readonly left: Promise<void>;
  private fail: (error: Error) => void = () => undefined;
  private leave: () => void = () => undefined;
  private refuse: (error: Error) => void = () => undefined;
  private readonly self: { id: RingId; addr: Address; uuid: MemberUuid };
  private readonly transport: PeerTransport;
  private readonly rpc: RpcServer;
  private readonly replication: Replication;
  private readonly ring: Ring;
  private readonly smtp: SmtpServer;
  private readonly pop3: ReturnType<typeof createMailPop3Server>;
  private readonly pop3s: ReturnType<typeof createMailPop3Server> | undefined;
  private readonly stopping = new AbortController();
  private listeners: { smtp?: string; pop3?: string; pop3s?: string } = {};
  private stopped: Promise<void> | undefined;

  constructor(
    private readonly config: NodeConfig,
    private readonly log: Log,
    private readonly store: DurableStore,
  ) {
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    this.left = new Promise((resolve) => {
      this.leave = resolve;
    });
    const { addr, bits, replicas, domain } = config;
    this.self = { id: ownId(config, store), addr, uuid: store.identity };
    const ringText = `bits=${bits} replicas=${replicas} domain=${domain}`;
    const identity = { uuid: store.identity, addr, ring: ringText };
    this.transport = createPeerTransport({
      self: identity,
      log,
      onUp: (peer) => {
        this.replication.peerUp();
        this.ring.welcome(peer);
      },
      onDown: (peer) => this.ring.suspect(peer),
    });
    const facts = this.facts();
    this.replication = new Replication({
      self: this.self,
      ring: { bits, replicas, domain },
      store,
      files: spoolFiles,
      caller: this.transport,
      clock,
      random,
      log,
      timings: { ...defaultTimings, evictAfterMs: config.evictAfterMs },
      pace: { octetsPerSecond: config.copyOctetsPerSecond, fetchesMax: config.copyStreams },
      isDown: (peer) => this.transport.isDown(peer),
      status: () => memberStatus(facts),
    });
    this.ring = this.createRing();
    const passwords = new Passwords(() => clock.monotonicMs());
    const accounts = new Accounts({
      ...{ passwords, domain, clock, random },
      registers: this.replication.registers,
      announceChanged: (register) => this.replication.announceChanged(register),
    });
    this.replication.onRegisterChanged((register) => accounts.forget(register));
    const { replication } = this;
    const mailboxes = new Mailboxes({
      ...{ replication, accounts, passwords, store, domain, clock, log },
      self: store.identity,
    });
    const operator = new Operator(Object.assign(facts, { accounts, mailboxes, domain }));
    this.rpc = createRpcServer({
      listen: addr,
      self: identity,
      onRing: async (message) => this.ring.handle(message),
      onPeerCall: (from, method, message) => replication.handle(from, method, message),
      onAdmin: (method, args) => operator.run(method, args),
      onPeerGreeted: (peer) => this.transport.redial(peer.addr),
      onPeerGone: (uuid) => replication.peerGone(uuid),
      log,
    });
    this.smtp = createSmtpServer({
      name: config.hostName,
      nodeText: this.self.id.toString(),
      receiver: mailboxes,
      log,
      limits: { ...config.limits.smtp, messageOctetsMax: config.messageOctetsMax },
    });
    const { hostName, plainAuth, limits } = config;
    const tls = configuredTls(config.tls);
    const pop3 = { name: hostName, mailboxes, log, plainAuth, limits: limits.pop3 };
    this.pop3 = createMailPop3Server({ ...pop3, ...(tls && { tls }) });
    if (tls) this.pop3s = createMailPop3Server({ ...pop3, tls, implicitTls: true });
    store.onFailure((error) => this.fail(error));
    replication.membership.onChange((roster, before) => this.rosterChanged(roster, before));
  }

  /** Read when asked, since the parts come one after the other. */
  private facts(): MemberFacts {
    const node = this;
    return {
      get replication() {
        return node.replication;
      },
      get ring() {
        return node.ring;
      },
      get listeners() {
        return node.listeners;
      },
      store: this.store,
      rssBytes: () => process.memoryUsage.rss(),
    };
  }

  get info(): RunningNode["info"] {
    return {
      id: this.self.id.toString(),
      addr: this.self.addr,
      smtp: this.listeners.smtp ?? "",
      pop3: this.listeners.pop3 ?? "",
      ...(this.listeners.pop3s !== undefined && { pop3s: this.listeners.pop3s }),
    };
  }

  private createRing(): Ring {
    const { bits, replicas } = this.config;
    const known = this.replication.roster.members.filter(({ uuid }) => uuid !== this.self.uuid);
    return createRing(
      {
        self: this.self,
        parameters: { bits, replicas },
        known: known.map(refOf),
        onDuplicate: (reason) => this.fail(new NodeStartError(reason)),
      },
      {
        call: (addr, message, options) => this.callRing(addr, message, options),
        setTimer: (ms, run) => {
          const timer = setTimeout(run, ms);
          return () => clearTimeout(timer);
        },
        random: () => Math.random(),
        persistCache: (members) => this.rememberKnown(members),
        log: this.log,
      },
    );
  }

  private async callRing(
    addr: Address,
    message: unknown,
    options: { readonly deadlineMs: number },
  ): Promise<unknown> {
    try {
      return await this.transport.callRing(addr, message, options);
    } catch (error) {
      // Another ring, or another version: no other try will help.
      const [, reason] = /refused: (.+)/.exec(asError(error).message) ?? [];
      if (reason) this.refuse(new NodeStartError(`${addr} refuses this member: ${reason}`));
      throw error;
    }
  }

  /** For the day when the roster's members have all moved; losing it is harmless. */
  private rememberKnown(members: readonly MemberRef[]): void {
    const value = members.map(({ id, addr, uuid }) => ({ id: id.toString(), addr, uuid }));
    this.store.write([{ kind: "PutLocal", key: "known", value }]).catch((error: unknown) => {
      this.log.warn({ error: String(error) }, "the known members could not be kept");
    });
  }

  async start(): Promise<void> {
    const { store, self, config, replication } = this;
    if (replication.roster.epoch > 0) refuseOtherRing(config, replication.roster);
    await probeListeners(config);
    await this.rpc.start();
    if (replication.roster.epoch > 0) await this.resume();
    else if (config.entries.length === 0) await this.found();
    else await this.join(config.entries);
    await keepId(self.id, config.bits, store);
    await this.listen();
  }

  private async found(): Promise<void> {
    await this.replication.membership.found(this.self);
    await this.ring.start({ kind: "first" });
    this.replication.start(this.store.lastMessages);
  }

  private async join(entries: readonly Address[]): Promise<void> {
    const refused = new Promise<never>((_, reject) => {
      this.refuse = reject;
    });
    await Promise.race([this.ring.start({ kind: "join", entries }), refused]);
    const { signal } = this.stopping;
    const { joining } = this.replication;
    await joining.join(entries, joinGiveUpMs, signal);
    this.replication.start(this.store.lastMessages);
    await joining.untilActive(signal);
  }

  /** A restart with data: this node is a member; it needs nobody's leave to come back. */
  private async resume(): Promise<void> {
    const { roster, membership } = this.replication;
    this.replication.start(this.store.lastMessages);
    const others = roster.members.filter(({ uuid }) => uuid !== this.self.uuid);
    const entries = [...others.map(({ addr }) => addr), ...this.config.entries];
    const alone = others.length === 0 && membership.selfMember !== undefined;
    const mode: StartMode = alone ? { kind: "first" } : { kind: "resume", entries };
    void this.ring.start(mode).catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.fail(asError(error));
    });
    if (membership.selfMember?.addr !== this.self.addr) this.rejoin(entries);
    if (membership.selfMember?.state === "joining") {
      await this.replication.joining.untilActive(this.stopping.signal);
    }
  }

  /** Evicted while it was away, or at a new address: it asks to be taken (back) in. */
  private rejoin(entries: readonly Address[]): void {
    const { joining } = this.replication;
    joining
      .join(entries, Number.POSITIVE_INFINITY, this.stopping.signal)
      .catch((error: unknown) => {
        this.fail(asError(error));
      });
  }

  private rosterChanged(roster: Roster, before: Roster): void {
    const { self, ring } = this;
    for (const member of before.members) {
      if (!memberByUuid(roster, member.uuid)) ring.forget(member.uuid);
    }
    ring.learn(roster.members.filter(({ uuid }) => uuid !== self.uuid).map(refOf));
    const was = memberByUuid(before, self.uuid);
    if (!was || memberByUuid(roster, self.uuid)) return;
    if (was.state === "leaving" && !was.evicted) {
      this.log.info({ id: self.id.toString() }, "left the ring");
      this.leave();
      return;
    }
    this.log.warn({}, "taken off the roster while silent; joining anew");
    this.rejoin(roster.members.map(({ addr }) => addr));
  }

  private async listen(): Promise<void> {
    const { smtp, pop3, pop3s } = this.config;
    const takes = await opened("smtp", smtp, () => this.smtp.listen(smtp));
    const gives = await opened("pop3", pop3, () => this.pop3.listen(pop3));
    this.listeners = {
      smtp: formatEndpoint({ host: smtp.host, port: takes.port }),
      pop3: formatEndpoint({ host: pop3.host, port: gives.port }),
    };
    const secure = this.pop3s;
    if (pop3s === "off" || secure === undefined) return;
    const { port } = await opened("pop3s", pop3s, () => secure.listen(pop3s));
    this.listeners.pop3s = formatEndpoint({ host: pop3s.host, port });
  }

  stop(): Promise<void> {
    this.stopped ??= this.shutDown();
    return this.stopped;
  }

  private async shutDown(): Promise<void> {
    this.stopping.abort();
    const drain = { deadlineMs: 10_000 };
    await Promise.allSettled([this.smtp.close(), this.pop3.close(drain), this.pop3s?.close(drain)]);
    this.replication.stop();
    this.ring.stop();
    await this.rpc.stop(5_000);
    this.transport.close();
    await this.store.close();
  }
}

const refOf = ({ id, addr, uuid }: MemberRef): MemberRef => ({ id, addr, uuid });

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new JoinRefusedError(String(error));
