/**
 * Reliable messaging over ordinary mail, usable on its own as `ringpost/sdk`.
 * @module
 */
export type * from "./api.js";
export { connect, connectExchange, type ExchangeConnection } from "./connect.js";
export { discover, type DiscoverOptions, type FoundMember } from "./discovery.js";
export { RingpostError, type RingpostErrorCode } from "./errors.js";
export type {
  Binding,
  Contact,
  DeviceKey,
  DirectoryRecord,
  ExchangeOptions,
  ExchangeType,
  HeadersMatch,
  Permitted,
  QueueOptions,
  QueueStatus,
  QuotaAnswer,
  RefusalCode,
  ResolvedRecord,
  ServerEndpoints,
} from "../ebm/index.js";
