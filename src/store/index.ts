/** The durable state of a node: a journal on disk and views of it. */
export { StoreVersionError } from "./identity.js";
export { StoreLockedError } from "../shared/lock.js";
export { openStore } from "./open-store.js";
export type { DurableStore } from "./store.js";
