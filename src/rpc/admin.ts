import { Client, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type AdminCaller, AdminError } from "../shared/admin.js";
import { bounds, keepaliveDefault } from "./bounds.js";
import type { RingCredentials } from "../secrets/index.js";
import { channelCredentials } from "./credentials.js";
import { channelOptions, grpcReason } from "./exchange.js";
import { failureText, parseJson } from "./message.js";
import { type AdminReply, type AdminRequest, adminRun } from "./schema.js";

export interface AdminCallerOptions {
  /** From the call to its answer, the time to connect included. */
  readonly deadlineMs?: number;
  /** In whose name to ask the member at an address. @throws AdminError */
  credentials(addr: string): Promise<RingCredentials> | RingCredentials;
}

const codes = {
  exists: true,
  unknown: true,
  invalid: true,
  unavailable: true,
  refused: true,
  unimplemented: true,
  internal: true,
} satisfies Record<AdminError["code"], true>;

function isCode(code: string): code is AdminError["code"] {
  return Object.hasOwn(codes, code);
}

/**
 * Sends commands, each over a connection of its own. The caller throws AdminError only:
 * "unavailable" when nobody listens at the address or no answer comes in time.
 */
export function createAdminCaller(options: AdminCallerOptions): AdminCaller {
  const deadlineMs = options.deadlineMs ?? bounds.adminDeadlineMs;
  return async (addr, method, args) => {
    const argsJson = Buffer.from(JSON.stringify(args));
    const request = { version: bounds.protocolVersion, method, argsJson };
    const reply = await run({
      addr,
      request,
      deadlineMs,
      credentials: await options.credentials(addr),
    });
    if (reply.failure) {
      const { code, message } = reply.failure;
      throw new AdminError(isCode(code) ? code : "internal", message);
    }
    try {
      return parseJson(reply.replyJson ?? Buffer.alloc(0)) as never;
    } catch (error) {
      throw new AdminError("internal", `${addr} gave an unusable reply: ${failureText(error)}`);
    }
  };
}

interface Asking {
  readonly addr: string;
  readonly request: AdminRequest;
  readonly deadlineMs: number;
  readonly credentials: RingCredentials;
}

function run({ addr, request, deadlineMs, credentials }: Asking): Promise<AdminReply> {
  return new Promise((resolve, reject) => {
    let client: Client;
    try {
      const trust = { kind: "member", credentials } as const;
      client = new Client(addr, channelCredentials(trust), channelOptions(keepaliveDefault));
    } catch {
      return reject(new AdminError("invalid", `"${addr}" is no host:port`));
    }
    client.makeUnaryRequest(
      adminRun.path,
      adminRun.requestSerialize,
      adminRun.responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + deadlineMs },
      (error: ServiceError | null, reply?: AdminReply) => {
        client.close();
        if (error !== null) reject(unanswered(addr, error, deadlineMs));
        else resolve(reply ?? {});
      },
    );
  });
}

function unanswered(addr: string, error: ServiceError, deadlineMs: number): AdminError {
  if (error.code === status.DEADLINE_EXCEEDED) {
    const text = `${addr} did not answer within ${deadlineMs / 1000} s`;
    return new AdminError("unavailable", text);
  }
  if (error.code === status.UNIMPLEMENTED) {
    return new AdminError("unavailable", `what listens at ${addr} is no member of a ring`);
  }
  const text = `no member can be reached at ${addr}: ${grpcReason(error)}`;
  return new AdminError("unavailable", text);
}
