/** How somebody gets in who has no certificate yet: what is asked of a member, and its answers. */
import { networkInterfaces } from "node:os";
import {
  Client,
  Metadata,
  type MethodDefinition,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import type { Log } from "../shared/log.js";
import { bounds, keepaliveDefault } from "./bounds.js";
import { channelCredentials, type Trust } from "./credentials.js";
import { channelOptions, grpcReason } from "./exchange.js";
import { failureText } from "./message.js";
import {
  type DescribeReply,
  type DescribeRequest,
  enrollDescribe,
  enrollRedeem,
  type RedeemReply,
  type RedeemRequest,
} from "./schema.js";

/** What a member tells those who are about to become one. */
export interface Enrollment {
  readonly caPem: string;
  /** Told to callers on the same machine only: whom the files let in is for the system to say. */
  readonly secretsFolder: string;
  /** Of a join token's secret: the CA's key for the right one, else why not, in one line. */
  redeem(
    secret: Buffer,
    by: { readonly uuid: string; readonly from: string },
  ): Promise<{ readonly caKeyPem: string } | { readonly refusal: string }>;
}

/** A member that can't be asked, or that does not let one in. `message` is one line. */
export class EnrollError extends Error {
  override readonly name = "EnrollError";
  constructor(
    readonly kind: "unreachable" | "refused",
    message: string,
  ) {
    super(message);
  }
}

export interface Described {
  readonly caPem: string;
  /** Absent: the member is on another machine. */
  readonly secretsFolder?: string;
}

/** Asks a member who it says it is. Nothing of it is proved. @throws EnrollError */
export async function describeMember(addr: string): Promise<Described> {
  const request = { version: bounds.protocolVersion };
  const reply = await ask(addr, { kind: "anyone" }, enrollDescribe, request);
  const { caPem, secretsFolder } = reply;
  return secretsFolder === "" ? { caPem } : { caPem, secretsFolder };
}

/** Sends a token's secret to a member of this CA, and to nobody else. @throws EnrollError */
export async function redeemToken(
  addr: string,
  {
    caPem,
    secret,
    uuid,
  }: { readonly caPem: string; readonly secret: Buffer; readonly uuid: string },
): Promise<{ readonly caKeyPem: string }> {
  const request = { version: bounds.protocolVersion, secret, uuid };
  const { caKeyPem, refusal } = await ask(addr, { kind: "stranger", caPem }, enrollRedeem, request);
  if (caKeyPem !== "") return { caKeyPem };
  throw new EnrollError("refused", `${addr} refuses: ${refusal}`);
}

function ask<Request, Reply>(
  addr: string,
  trust: Trust,
  method: MethodDefinition<Request, Reply>,
  request: Request,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let client: Client;
    try {
      client = new Client(addr, channelCredentials(trust), channelOptions(keepaliveDefault));
    } catch {
      return reject(new EnrollError("refused", `"${addr}" is no host:port`));
    }
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + bounds.enrollDeadlineMs },
      (error: ServiceError | null, reply?: Reply) => {
        client.close();
        if (error === null && reply !== undefined) return resolve(reply);
        reject(unanswered(addr, error));
      },
    );
  });
}

function unanswered(addr: string, error: ServiceError | null): EnrollError {
  if (error?.code === status.FAILED_PRECONDITION) {
    return new EnrollError("refused", `${addr} refuses: ${grpcReason(error)}`);
  }
  if (error?.code === status.UNIMPLEMENTED) {
    return new EnrollError("unreachable", `what listens at ${addr} is no member of a ring`);
  }
  const text = `no member can be reached at ${addr}: ${grpcReason(error ?? {})}`;
  return new EnrollError("unreachable", text);
}

/** The serving end. */
export function enrollHandlers(enrollment: Enrollment, log: Log) {
  return {
    Describe: (
      call: ServerUnaryCall<DescribeRequest, DescribeReply>,
      reply: sendUnaryData<DescribeReply>,
    ): void => {
      if (refuseVersion(call.request, reply)) return;
      const isHere = isOfThisMachine(hostOf(call.getPeer()));
      const { caPem, secretsFolder } = enrollment;
      reply(null, { caPem, secretsFolder: isHere ? secretsFolder : "" });
    },
    Redeem: (
      call: ServerUnaryCall<RedeemRequest, RedeemReply>,
      reply: sendUnaryData<RedeemReply>,
    ): void => {
      if (refuseVersion(call.request, reply)) return;
      const { secret, uuid } = call.request;
      enrollment.redeem(secret, { uuid, from: hostOf(call.getPeer()) }).then(
        (answer) => reply(null, { caKeyPem: "", refusal: "", ...answer }),
        (error: unknown) => {
          log.error({ error: failureText(error) }, "a join token could not be redeemed");
          reply({ code: status.INTERNAL, details: "the member failed; its log says why" });
        },
      );
    },
  };
}

function refuseVersion<T>(
  { version }: { readonly version: number },
  reply: sendUnaryData<T>,
): boolean {
  const ours = bounds.protocolVersion;
  if (version === ours) return false;
  const details = `the caller speaks protocol version ${version}, the member ${ours}`;
  reply({ code: status.FAILED_PRECONDITION, details });
  return true;
}

/** Of gRPC's `host:port`. */
function hostOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
}

/** Loopback, or an address that this machine has itself. */
export function isOfThisMachine(host: string): boolean {
  // An IPv4 caller of a socket that listens for both (RFC 4291 §2.5.5.2).
  const plain = host.replace(/^::ffff:(?=\d+\.)/, "");
  if (plain === "::1" || plain.startsWith("127.")) return true;
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return own.some(({ address }) => address === plain);
}
