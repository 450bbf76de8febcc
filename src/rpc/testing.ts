/** What the tests of this room share: identities, servers on free ports, promises to wait for. */
import type { Address, MemberUuid } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import { makeClusterCa, makeMemberCertificate, type Pair } from "../secrets/certificates.js";
import type { RingCredentials } from "../secrets/index.js";
import type { Enrollment } from "./enroll.js";
import type { MemberIdentity } from "./identity.js";
import { createRpcServer, type RpcServer, type RpcServerOptions } from "./server.js";

const nothing = () => {};
export const quietLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export function identity(name: string, ring = "bits=8"): MemberIdentity {
  return { uuid: `uuid-of-${name}` as MemberUuid, addr: `${name}:1` as Address, ring };
}

const ca = await makeClusterCa();

/** A certificate for any uuid, by the CA of all tests here or by another. */
export async function credentialsOf(uuid: string, by: Pair = ca): Promise<RingCredentials> {
  return { caPem: by.certPem, ...(await makeMemberCertificate(by, uuid)) };
}

export const serverCredentials = await credentialsOf("uuid-of-server");
export const callerCredentials = await credentialsOf("uuid-of-caller");

/** Lets nobody in. */
export const enrollment: Enrollment = {
  caPem: ca.certPem,
  secretsFolder: "/nonexistent/secrets",
  redeem: async () => ({ refusal: "no token is good here" }),
};

export interface RunningServer {
  readonly addr: Address;
  readonly server: RpcServer;
}

/** Starts a server on a free port of the loopback; handlers echo unless given. */
export async function startServer(
  overrides: Partial<RpcServerOptions> = {},
): Promise<RunningServer> {
  const server = createRpcServer({
    listen: "127.0.0.1:0" as Address,
    self: identity("server"),
    credentials: serverCredentials,
    enrollment,
    onRing: async (message) => message,
    onPeerCall: async (_from, _method, message) => message,
    onAdmin: async (method, args) => ({ method, args }),
    log: quietLog,
    ...overrides,
  });
  return { server, addr: await server.start() };
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = nothing;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
