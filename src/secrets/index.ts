/** Keys, certificates and tokens: who belongs to the ring, and what the listeners show clients. */
export { memberUri, type Pair } from "./certificates.js";
export { readSecret, SecretError } from "./files.js";
export {
  formatJoinToken,
  type JoinToken,
  makeJoinToken,
  parseJoinToken,
  secretHash,
} from "./join-token.js";
export { ListenerTls, selfSignedPaths } from "./listener-tls.js";
export {
  adoptRing,
  fingerprintOf,
  foundRing,
  readCa,
  readCredentials,
  type RingCredentials,
  secretsFolder,
} from "./ring-secrets.js";
