/** Finds members of rings on the LAN, without a server for it. */
export { discover, type DiscoverOptions } from "./ask.js";
export { type Discovery, listenForQuestions } from "./listen.js";
export type { FoundMember } from "./message.js";
