import {
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { AdminError, type AdminMethod } from "../shared/admin.js";
import type { Address, MemberUuid } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { RingCredentials } from "../secrets/index.js";
import { bounds, type Keepalive, keepaliveDefault } from "./bounds.js";
import { proofOf, serverCredentials } from "./credentials.js";
import { type Enrollment, enrollHandlers } from "./enroll.js";
import type { ReceivedFrame } from "./frame.js";
import { createGate } from "./gate.js";
import { type MemberIdentity, type PeerIdentity, peerOf, refusal } from "./identity.js";
import { InboundExchange, type PeerCallHandler } from "./inbound.js";
import { failureText, parseJson, stringify } from "./message.js";
import {
  type AdminReply,
  type AdminRequest,
  adminService,
  enrollService,
  peerService,
  type RingReply,
  type RingRequest,
  ringService,
} from "./schema.js";

export interface RpcServerOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: Address;
  readonly self: MemberIdentity;
  /** Of the same uuid. */
  readonly credentials: RingCredentials;
  readonly enrollment: Enrollment;
  /** One step of stabilization, JSON in and out. A throw reaches the caller as "failed". */
  onRing(message: unknown, from: PeerIdentity): Promise<unknown>;
  /** A throw reaches the caller as "failed". Blobs are views into a frame: copy what is kept. */
  readonly onPeerCall: PeerCallHandler;
  /** Throws AdminError for what the user can act on; another error becomes "internal". */
  onAdmin(method: AdminMethod, args: unknown): Promise<unknown>;
  /** A member has opened a stream to us. */
  onPeerGreeted?(peer: PeerIdentity): void;
  /** The stream from that member ended; comes before any call of its next stream. */
  onPeerGone?(uuid: MemberUuid): void;
  readonly log: Log;
  readonly keepalive?: Keepalive;
}

export interface RpcServer {
  /**
   * Resolves with the bound address.
   * @throws ListenError
   */
  start(): Promise<Address>;
  /** Refuses new calls, lets running ones finish, cuts what is left after `deadlineMs`. */
  stop(deadlineMs: number): Promise<void>;
}

/** The port cannot be listened on. `message` is one line that names it. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export function createRpcServer(options: RpcServerOptions): RpcServer {
  const keepalive = options.keepalive ?? keepaliveDefault;
  const server = new Server({
    "grpc.enable_channelz": 0,
    "grpc.keepalive_time_ms": keepalive.intervalMs,
    "grpc.keepalive_timeout_ms": keepalive.timeoutMs,
    "grpc.max_receive_message_length": bounds.frameOctetsMax,
    "grpc.max_send_message_length": bounds.frameOctetsMax,
    "grpc.max_concurrent_streams": 256,
    "grpc.max_connection_idle_ms": bounds.idleConnectionMs,
    interceptors: [createGate(options.log)],
  });
  const peers = new Peers(options);
  server.addService(peerService, {
    Exchange: (stream: ServerDuplexStream<ReceivedFrame, Buffer>) => peers.accept(stream),
  });
  server.addService(ringService, { Step: ringHandler(options) });
  server.addService(adminService, { Run: adminHandler(options) });
  server.addService(enrollService, enrollHandlers(options.enrollment, options.log));
  return {
    start: () => bind(server, options),
    stop: (deadlineMs) => shutDown(server, peers, deadlineMs),
  };
}

/** The streams that members opened to us: at most one greeted stream per member. */
class Peers {
  readonly #all = new Set<InboundExchange>();
  readonly #greeted = new Map<MemberUuid, InboundExchange>();
  #draining = false;

  constructor(private readonly options: RpcServerOptions) {}

  accept(stream: ServerDuplexStream<ReceivedFrame, Buffer>): void {
    const { self, log, onPeerCall } = this.options;
    const exchange = new InboundExchange(stream, self, {
      onPeerCall,
      greeted: (greeted, peer) => {
        // The member has given its former stream up, although we did not hear of it yet.
        this.#greeted.get(peer.uuid)?.cut(status.ABORTED, "replaced by a newer stream");
        this.#greeted.set(peer.uuid, greeted);
        this.options.onPeerGreeted?.(peer);
      },
      refused: (reason) => log.warn({ from: stream.getPeer(), reason }, "stream refused"),
      gone: (gone, uuid) => {
        this.#all.delete(gone);
        if (uuid === undefined) return;
        this.#greeted.delete(uuid);
        this.options.onPeerGone?.(uuid);
      },
    });
    this.#all.add(exchange);
    if (this.#draining) exchange.cut(status.UNAVAILABLE, "this member is stopping");
  }

  drain(): void {
    this.#draining = true;
    for (const exchange of [...this.#all]) exchange.drain();
  }
}

function ringHandler({ self, onRing, log }: RpcServerOptions) {
  return (call: ServerUnaryCall<RingRequest, RingReply>, reply: sendUnaryData<RingReply>): void => {
    const { request } = call;
    const proof = proofOf(call.getAuthContext());
    const reason = request.from === null ? "no hello" : refusal(self, request.from, proof);
    if (request.from === null || reason !== undefined) {
      log.warn({ from: call.getPeer(), reason }, "ring step refused");
      return reply({ code: status.FAILED_PRECONDITION, details: `refused: ${reason}` });
    }
    const from = peerOf(request.from);
    const step = async () => stringify(await onRing(parseJson(request.message), from));
    step().then(
      (json) => reply(null, { message: Buffer.from(json) }),
      (error: unknown) => {
        log.warn({ from: from.addr, error: failureText(error) }, "ring step failed");
        reply({ code: status.INTERNAL, details: failureText(error) });
      },
    );
  };
}

const adminMethods = {
  userAdd: true,
  userPasswd: true,
  userRemove: true,
  userList: true,
  appPasswordAdd: true,
  appPasswordList: true,
  appPasswordRevoke: true,
  sessionCreate: true,
  sessionRefresh: true,
  sessionRevoke: true,
  sessionRotateKey: true,
  userShow: true,
  userDisable: true,
  userQuota: true,
  aliasAdd: true,
  aliasRemove: true,
  aliasList: true,
  domainAdd: true,
  domainRemove: true,
  domainList: true,
  status: true,
  memberStatus: true,
  locate: true,
  tokenCreate: true,
  lookup: true,
  leave: true,
  leaveProgress: true,
  evict: true,
  mailboxes: true,
  repair: true,
  restoreMessage: true,
  inviteCreate: true,
  controlList: true,
  controlRead: true,
  controlDelete: true,
  relayTest: true,
  relayStatus: true,
} satisfies Record<AdminMethod, true>;

function isAdminMethod(method: string): method is AdminMethod {
  return Object.hasOwn(adminMethods, method);
}

function adminHandler({ onAdmin, log }: RpcServerOptions) {
  const run = async ({ version, method, argsJson }: AdminRequest): Promise<string> => {
    if (version !== bounds.protocolVersion) {
      const ours = bounds.protocolVersion;
      const text = `the command speaks protocol version ${version}, the member ${ours}`;
      throw new AdminError("refused", text);
    }
    if (!isAdminMethod(method)) {
      throw new AdminError("unimplemented", `the member does not know the command ${method}`);
    }
    return stringify(await onAdmin(method, parseJson(argsJson)));
  };
  return (
    { request }: ServerUnaryCall<AdminRequest, AdminReply>,
    reply: sendUnaryData<AdminReply>,
  ): void => {
    run(request).then(
      (json) => reply(null, { replyJson: Buffer.from(json) }),
      (error: unknown) => {
        if (error instanceof AdminError) {
          const { code, message } = error;
          return reply(null, { failure: { code, message } });
        }
        log.error({ method: request.method, error: failureText(error) }, "command failed");
        reply(null, { failure: { code: "internal", message: failureText(error) } });
      },
    );
  };
}

function bind(server: Server, { listen, credentials }: RpcServerOptions): Promise<Address> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, serverCredentials(credentials), (error, port) => {
      if (error === null) resolve(`${hostOf(listen)}:${port}` as Address);
      else reject(new ListenError(listenFailure(listen, error)));
    });
  });
}

function hostOf(address: Address): string {
  return address.slice(0, address.lastIndexOf(":"));
}

function listenFailure(listen: Address, error: Error): string {
  const place = `port ${listen.slice(listen.lastIndexOf(":") + 1)} on ${hostOf(listen)}`;
  if (error.message.includes("EADDRINUSE")) return `${place} is already in use`;
  if (error.message.includes("EACCES")) return `${place} needs privileges that this process lacks`;
  return `cannot listen on ${place}: ${failureText(error)}`;
}

function shutDown(server: Server, peers: Peers, deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, deadlineMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
    peers.drain();
  });
}
