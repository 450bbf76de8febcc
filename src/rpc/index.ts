/** gRPC between members and from the command line to a member. */
export { type AdminCallerOptions, createAdminCaller } from "./admin.js";
export { type Keepalive, keepaliveDefault } from "./bounds.js";
export {
  type Described,
  describeMember,
  EnrollError,
  type Enrollment,
  redeemToken,
} from "./enroll.js";
export type { MemberIdentity, PeerIdentity } from "./identity.js";
export type { PeerCallHandler } from "./inbound.js";
export { createRpcServer, ListenError, type RpcServer, type RpcServerOptions } from "./server.js";
export {
  createPeerTransport,
  type PeerTransport,
  type PeerTransportOptions,
  type RingCallOptions,
} from "./transport.js";
