/** Servers without a list of them: `connect({ servers: ["auto"] })` asks the LAN. */
export { discover, type DiscoverOptions, type FoundMember } from "../discovery/index.js";
