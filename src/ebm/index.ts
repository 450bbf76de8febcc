/** EBM/1: reliable messages over ordinary mail. Codecs only; no clock, no socket, no state. */
export * from "./bounds.js";
export * from "./configuration.js";
export type {
  AckFrame,
  ConfigurationFrame,
  DataFrame,
  Dead,
  Frame,
  NackFrame,
  Range,
} from "./frame.js";
export { encodeFrames } from "./frames.js";
export * from "./keys.js";
export * from "./mail.js";
export * from "./message.js";
export { OpenedPackets } from "./opened.js";
export * from "./packet.js";
export * from "./record.js";
export * from "./subject.js";
