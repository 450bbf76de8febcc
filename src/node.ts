/** One member, put together: the only place that knows every room. */
import type { NodeConfig } from "./config/index.js";
import type { Mailboxes } from "./mailbox/mailboxes.js";
import { type Discovery, listenForQuestions } from "./discovery/index.js";
import type { Pusher } from "./middleware/broker/pusher.js";
import type { RingBroker } from "./middleware/broker/broker.js";
import { Admission } from "./node/admission.js";
import { createNodeBroker, createPusher } from "./node/broker.js";
import { toldOnLan, withFoundEntries } from "./node/discovery.js";
import { keepId, NodeStartError, ownId, refuseOtherRing } from "./node/identity.js";
import { probeListeners } from "./node/listeners.js";
import { createMailDomain } from "./node/mail-domain.js";
import { createMailPop3Servers, type MailPop3Servers } from "./node/mail-pop3.js";
import { createMailSmtpServers, type MailSmtpServers } from "./node/mail-smtp.js";
import { createNodeMiddleware } from "./node/middleware.js";
import { openSecrets, type OwnSecrets } from "./node/own-secrets.js";
import { createRelay, type Relay } from "./node/relay.js";
import { Stalls } from "./node/stalls.js";
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
import { type DurableStore, openStore } from "./store/index.js";
import { spoolFiles } from "./store/spool-files.js";

export interface RunningNode {
  readonly info: {
    readonly id: string;
    readonly addr: string;
    readonly smtp: string;
    readonly pop3: string;
    /** Absent where there is no such listener. */
    readonly submission?: string;
    readonly submissions?: string;
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
/** A member that is neither there nor refuses holds up a start no longer. */
const noticedWithinMs = 2_000;

/**
 * Opens the data, joins or resumes the ring, and opens the listeners. Resolves when all of that
 * is done; a ring that is busy with another joiner is waited for.
 * @throws NodeStartError, StoreLockedError, StoreVersionError, ListenError, JoinRefusedError,
 *   RingJoinError, SecretError
 */
export async function startNode(given: NodeConfig, log: Log): Promise<RunningNode> {
  const store = await openStore({ directory: given.dataDir, log });
  const closing = async (error: unknown): Promise<never> => {
    await store.close();
    throw error;
  };
  const isMember = store.local("roster") !== undefined;
  const config = await withFoundEntries(given, isMember).catch(closing);
  const secrets = await openSecrets(config, { store, clock, log }).catch(closing);
  const node = new Node(config, log, store, secrets);
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
  private readonly mailboxes: Mailboxes;
  private readonly broker: RingBroker;
  private readonly pusher: Pusher;
  private readonly relay: Relay;
  private readonly smtp: MailSmtpServers;
  private readonly pop3: MailPop3Servers;
  private readonly stalls: Stalls;
  private readonly stopping = new AbortController();
  /** Members whose connection to this one stands. */
  private readonly greeted = new Set<MemberUuid>();
  private listeners: MemberFacts["listeners"] = {};
  private discovery: Discovery | undefined;
  private stopped: Promise<void> | undefined;

  constructor(
    private readonly config: NodeConfig,
    private readonly log: Log,
    private readonly store: DurableStore,
    private readonly secrets: OwnSecrets,
  ) {
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    this.left = new Promise((resolve) => {
      this.leave = resolve;
    });
    this.stalls = new Stalls(log);
    const { addr, bits, replicas, domain } = config;
    this.self = { id: ownId(config, store), addr, uuid: store.identity };
    const ringText = `bits=${bits} replicas=${replicas} domain=${domain}`;
    const identity = { uuid: store.identity, addr, ring: ringText };
    this.transport = createPeerTransport({
      self: identity,
      credentials: secrets.credentials,
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
    const { replication } = this;
    const { signal: stopping } = this.stopping;
    const mail = createMailDomain({ config, store, replication, log, stopping });
    const { registry, mailboxes, authenticator, credentials } = mail;
    this.mailboxes = mailboxes;
    const { relayPassword: password } = secrets;
    const { quotas } = registry;
    this.relay = createRelay({
      ...{ config, password, mailboxes, quotas, replication, log },
      onGivenUp: (mail) => this.pusher.givenUp(mail),
    });
    const { outgoing } = this.relay;
    const admission = new Admission({
      ...{ credentials: secrets.credentials, secretsFolder: secrets.folder },
      ...{ registers: replication.registers, clock, log },
    });
    const { keys } = mail;
    this.broker = createNodeBroker({ domain, store, replication, keys, log });
    const { broker } = this;
    const middleware = createNodeMiddleware({
      ...{ config, mail, replication, broker, log },
      outgoing: config.relay && outgoing,
    });
    this.pusher = createPusher(broker, middleware, log);
    const operator = new Operator(
      Object.assign(facts, {
        ...{ ...registry, mailboxes, credentials, admission, domain, outgoing },
        control: middleware,
      }),
    );
    this.rpc = createRpcServer({
      listen: addr,
      self: identity,
      credentials: secrets.credentials,
      enrollment: admission,
      onRing: async (message) => this.ring.handle(message),
      onPeerCall: (from, method, message) => replication.handle(from, method, message),
      onAdmin: (method, args) => operator.run(method, args),
      onPeerGreeted: (peer) => {
        this.greeted.add(peer.uuid);
        this.transport.redial(peer.addr);
      },
      onPeerGone: (uuid) => {
        this.greeted.delete(uuid);
        replication.peerGone(uuid);
      },
      log,
    });
    const nodeText = this.self.id.toString();
    const { wayOut } = this.relay;
    const users = { authenticator, senders: registry.senders, wayOut };
    const served = { config, log, tls: secrets.tls };
    const { receiver: ring } = middleware;
    this.smtp = createMailSmtpServers({ ...served, nodeText, receiver: mailboxes, ring, users });
    this.pop3 = createMailPop3Servers({ ...served, authenticator, mailboxes, queues: broker });
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
      stallMs: () => this.stalls.worstMs(),
    };
  }

  get info(): RunningNode["info"] {
    return {
      id: this.self.id.toString(),
      addr: this.self.addr,
      smtp: "",
      pop3: "",
      ...this.listeners,
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
    await probeListeners({ ...this.smtp.endpoints, ...this.pop3.endpoints });
    await this.rpc.start();
    if (replication.roster.epoch > 0) await this.resume();
    else if (config.entries.length === 0) await this.found();
    else await this.join(config.entries);
    await keepId(self.id, config.bits, store);
    await this.heardByOthers();
    this.broker.start();
    await this.listen();
  }

  /**
   * A client's first question may need a majority, and whoever hears that this member is ready may
   * take the next one down: so the connections to the others, and theirs to this one, come first.
   */
  private async heardByOthers(): Promise<void> {
    const isSettled = ({ uuid, addr }: MemberRef): boolean =>
      this.transport.isDown(addr) || (this.transport.isUp(addr) && this.greeted.has(uuid));
    const giveUpAtMs = clock.monotonicMs() + noticedWithinMs;
    const others = () =>
      this.replication.roster.members.filter(({ uuid }) => uuid !== this.self.uuid);
    while (!others().every(isSettled) && clock.monotonicMs() < giveUpAtMs) {
      await clock.sleep(20, this.stopping.signal);
    }
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
    this.relay.start();
    this.pusher.start();
    this.listeners = { ...(await this.smtp.listen()), ...(await this.pop3.listen()) };
    const { config, secrets, log } = this;
    if (!config.discovery || this.stopping.signal.aborted) return;
    const member = toldOnLan(config, secrets.credentials.caPem, this.listeners);
    this.discovery = await listenForQuestions({ host: config.ring.host, member, log });
  }

  stop(): Promise<void> {
    this.stopped ??= this.shutDown();
    return this.stopped;
  }

  private async shutDown(): Promise<void> {
    this.stopping.abort();
    this.mailboxes.stop();
    await Promise.all([this.smtp.close(), this.pop3.close(), this.discovery?.close()]);
    await this.relay.stop();
    this.pusher.stop();
    this.broker.stop();
    this.replication.stop();
    this.ring.stop();
    await this.rpc.stop(5_000);
    this.transport.close();
    this.secrets.tls.close();
    this.stalls.stop();
    await this.store.close();
  }
}

const refOf = ({ id, addr, uuid }: MemberRef): MemberRef => ({ id, addr, uuid });

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new JoinRefusedError(String(error));
