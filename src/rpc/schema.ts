/** The services of ringpost.proto, loaded at run time from beside this module. */
import { fileURLToPath } from "node:url";
import {
  logVerbosity,
  type MethodDefinition,
  type ServiceDefinition,
  setLogVerbosity,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { decodeFrame, type Hello, type ReceivedFrame } from "./frame.js";

export interface RingRequest {
  readonly from: Hello | null;
  readonly message: Buffer;
}

export interface RingReply {
  readonly message: Buffer;
}

export interface AdminRequest {
  readonly version: number;
  readonly method: string;
  readonly argsJson: Buffer;
}

export interface AdminReply {
  readonly replyJson?: Buffer;
  readonly failure?: { readonly code: string; readonly message: string } | null;
}

export interface DescribeRequest {
  readonly version: number;
}

export interface DescribeReply {
  readonly caPem: string;
  /** Empty for callers on other machines. */
  readonly secretsFolder: string;
}

export interface RedeemRequest {
  readonly version: number;
  readonly secret: Buffer;
  readonly uuid: string;
}

export interface RedeemReply {
  /** Empty when refused. */
  readonly caKeyPem: string;
  readonly refusal: string;
}

// gRPC would print to stderr what its callers hear as errors anyway, and report better.
setLogVerbosity(logVerbosity.NONE);

const definitions = loadSync(fileURLToPath(new URL("./ringpost.proto", import.meta.url)), {
  defaults: true,
  oneofs: true,
});

function service(name: string): ServiceDefinition {
  const definition = definitions[`ringpost.v1.${name}`];
  if (definition === undefined || "format" in definition) throw new Error(`no service ${name}`);
  return definition;
}

function method<Request, Reply>(of: ServiceDefinition, name: string) {
  const definition = of[name];
  if (definition === undefined) throw new Error(`no method ${name}`);
  return definition as MethodDefinition<Request, Reply>;
}

const asIs = (frame: Buffer): Buffer => frame;

export const ringService = service("Ring");
export const ringStep = method<RingRequest, RingReply>(ringService, "Step");

export const adminService = service("Admin");
export const adminRun = method<AdminRequest, AdminReply>(adminService, "Run");

export const enrollService = service("Enroll");
export const enrollDescribe = method<DescribeRequest, DescribeReply>(enrollService, "Describe");
export const enrollRedeem = method<RedeemRequest, RedeemReply>(enrollService, "Redeem");

/** Frames are encoded where they are coalesced (outbox.ts) and decoded by frame.ts. */
export const exchangeMethod = {
  ...method<Buffer, ReceivedFrame>(service("Peer"), "Exchange"),
  requestSerialize: asIs,
  requestDeserialize: decodeFrame,
  responseSerialize: asIs,
  responseDeserialize: decodeFrame,
};
export const peerService = { Exchange: exchangeMethod };
