import { performance } from "node:perf_hooks";
import { Client, type ClientDuplexStream, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Address } from "../shared/ids.js";
import { bounds, type Keepalive } from "./bounds.js";
import type { RingCredentials } from "../secrets/index.js";
import { channelCredentials, proofOf, serverName } from "./credentials.js";
import { encodeHello, type Hello, type ReceivedAnswer, type ReceivedFrame } from "./frame.js";
import { helloOf, type MemberIdentity, refusal } from "./identity.js";
import type { WriteFrame } from "./outbox.js";
import { exchangeMethod } from "./schema.js";

export interface ExchangeEvents {
  /** The other side accepted us and we accept it; calls may be written from now on. */
  greeted(hello: Hello): void;
  answers(answers: readonly ReceivedAnswer[]): void;
  /** Called exactly once unless `close` came first; nothing follows. */
  broken(reason: string): void;
}

/** One connection to a member and the stream on it. It is never repaired, only replaced. */
export interface Exchange {
  /** For unary calls over the same connection. */
  readonly client: Client;
  readonly write: WriteFrame;
  close(): void;
}

/**
 * Ring traffic goes through a proxy only where `grpc_proxy` says so. `http_proxy` and its like,
 * which gRPC would follow too, are meant for the web: a ring must not run through them by accident.
 */
function proxyWanted(): 0 | 1 {
  return (process.env["grpc_proxy"] ?? "") === "" ? 0 : 1;
}

/**
 * Options of every channel. Each has its own connection, so that closing it closes the connection;
 * nothing is retried, resolved or proxied behind our back.
 */
export function channelOptions(keepalive: Keepalive) {
  return {
    "grpc.ssl_target_name_override": serverName,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": proxyWanted(),
    "grpc.service_config_disable_resolution": 1,
    "grpc.keepalive_time_ms": keepalive.intervalMs,
    "grpc.keepalive_timeout_ms": keepalive.timeoutMs,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.max_receive_message_length": bounds.frameOctetsMax,
    "grpc.max_send_message_length": bounds.frameOctetsMax,
    "grpc-node.flow_control_window": bounds.frameOctetsTarget,
  };
}

/** The part of a gRPC error that says what happened, on one line. */
export function grpcReason(error: Partial<ServiceError>): string {
  const details = error.details ?? error.message ?? "unknown";
  // "… (2025-01-01T00:00:00.000Z)" is noise in a log line that has its own time.
  return details
    .replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)/g, "")
    .replace(/\s+/g, " ")
    .slice(0, 300);
}

/** Who calls, and how. */
export interface Caller {
  readonly self: MemberIdentity;
  readonly credentials: RingCredentials;
  readonly keepalive: Keepalive;
}

/** Connects to `peer` and greets it. */
export function openExchange(
  peer: Address,
  { self, credentials, keepalive }: Caller,
  events: ExchangeEvents,
): Exchange {
  const trust = { kind: "member", credentials } as const;
  const client = new Client(peer, channelCredentials(trust), channelOptions(keepalive));
  const stream: ClientDuplexStream<Buffer, ReceivedFrame> = client.makeBidiStreamRequest(
    exchangeMethod.path,
    exchangeMethod.requestSerialize,
    exchangeMethod.responseDeserialize,
    new Metadata(),
    {},
  );
  let over = false;
  let greeted = false;
  const close = () => {
    over = true;
    clearTimeout(helloTimer);
    stream.cancel();
    client.close();
  };
  const broken = (reason: string) => {
    if (over) return;
    close();
    events.broken(reason);
  };
  const helloTimer = setTimeout(
    () => broken(`no greeting within ${bounds.helloDeadlineMs} ms`),
    bounds.helloDeadlineMs,
  );
  const onHello = (hello: Hello | undefined) => {
    const reason =
      hello === undefined
        ? "sent no hello"
        : refusal(self, hello, proofOf(stream.getAuthContext()));
    if (hello === undefined || reason !== undefined) return broken(`refused: ${reason}`);
    clearTimeout(helloTimer);
    greeted = true;
    events.greeted(hello);
  };
  stream.on("data", (frame: ReceivedFrame) => {
    if (over) return;
    if (!greeted) onHello(frame.hello);
    else events.answers(frame.answers);
  });
  // The listeners stay after the end: a late error without one would end the process.
  stream.on("error", (error: Error) => broken(grpcReason(error)));
  stream.on("end", () => broken("the stream was ended"));
  stream.write(encodeHello(helloOf(self), performance.now()));
  return { client, close, write: (frame, written) => void stream.write(frame, written) };
}
