export { oauthbearer, xoauth2 } from "./bearer.js";
export type { Claim, Mechanism, ScramAnswer, Verifier } from "./mechanism.js";
export { passwordOctetsMax } from "./mechanism.js";
export { prepareOpaque } from "./opaque-string.js";
export { login, plain } from "./plain.js";
export { scram } from "./scram.js";
export { type ScramVerifier, scramVerifier } from "./scram-keys.js";
