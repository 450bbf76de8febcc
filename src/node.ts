/** One member, put together: the only place that knows every room. */
import type { NodeConfig } from "./config/index.js";
import type { Mailboxes } from "./mailbox/mailboxes.js";
import { type Discovery, listenForQuestions } from "./discovery/index.js";
import type { Pusher } from "./middleware/broker/pusher.js";
import type { RingBroker } from "./middleware/broker/broker.js";
import { Admission } from "./node/admission.js";
import { createNodeBroker, createPusher } from "./node/broker.js";
import { toldOnLan, withFoundEntries } from "./node/discovery.js";
import { keepId, ownId } from "./node/identity.js";
import { probeListeners } from "./node/listeners.js";
import { createMailDomain } from "./node/mail-domain.js";
import { createMailPop3Servers, type MailPop3Servers } from "./node/mail-pop3.js";
import { createMailSmtpServers, type MailSmtpServers } from "./node/mail-smtp.js";
import { createNodeMiddleware } from "./node/middleware.js";
import { openSecrets, type OwnSecrets } from "./node/own-secrets.js";
import { Place } from "./node/place.js";
import { createRelay, type Relay } from "./node/relay.js";
import { Stalls } from "./node/stalls.js";
import { clock, random } from "./node/system.js";
import { memberStatus, type MemberFacts } from "./operator/member-status.js";
import { Operator } from "./operator/operator.js";
import { defaultTimings } from "./replication/options.js";
import { Replication } from "./replication/replication.js";
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
  private readonly self: { id: RingId; addr: Address; uuid: MemberUuid };
  private readonly transport: PeerTransport;
  private readonly rpc: RpcServer;
  private readonly replication: Replication;
  private readonly place: Place;
  private readonly mailboxes: Mailboxes;
  private readonly broker: RingBroker;
  private readonly pusher: Pusher;
  private readonly relay: Relay;
  private readonly smtp: MailSmtpServers;
  private readonly pop3: MailPop3Servers;
  private readonly stalls: Stalls;
  private readonly stopping = new AbortController();
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
        this.place.ring.welcome(peer);
      },
      onDown: (peer) => this.place.ring.suspect(peer),
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
    const { replication, transport } = this;
    const { signal: stopping } = this.stopping;
    this.place = new Place({
      ...{ self: this.self, config, store, replication, transport, stopping, log },
      onFailure: (error) => this.fail(error),
      onLeft: () => this.leave(),
    });
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
      onRing: async (message) => this.place.ring.handle(message),
      onPeerCall: (from, method, message) => replication.handle(from, method, message),
      onAdmin: (method, args) => operator.run(method, args),
      onPeerGreeted: (peer) => {
        this.place.peerGreeted(peer.uuid);
        this.transport.redial(peer.addr);
      },
      onPeerGone: (uuid) => {
        this.place.peerGone(uuid);
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
  }

  /** Read when asked, since the parts come one after the other. */
  private facts(): MemberFacts {
    const node = this;
    return {
      get replication() {
        return node.replication;
      },
      get ring() {
        return node.place.ring;
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

  async start(): Promise<void> {
    const { store, self, config, place } = this;
    place.refuseOtherRing();
    await probeListeners({ ...this.smtp.endpoints, ...this.pop3.endpoints });
    await this.rpc.start();
    await place.take();
    await keepId(self.id, config.bits, store);
    await place.heardByOthers();
    this.broker.start();
    await this.listen();
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
    this.place.ring.stop();
    await this.rpc.stop(5_000);
    this.transport.close();
    this.secrets.tls.close();
    this.stalls.stop();
    await this.store.close();
  }
}
