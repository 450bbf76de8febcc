/** Reads and validates the conf file and the flags, once. */
export { ConfigError } from "./config-error.js";
export { defaults } from "./defaults.js";
export { formatEndpoint, isWildcard, parseEndpoint, portMax } from "./endpoint.js";
export { limitSpecs } from "./limits.js";
export { nearest } from "./nearest.js";
export { type FlagTexts, loadNodeConfig, type NodeConfig } from "./node-config.js";
export type { OptionKey } from "./option-values.js";
export { optionKeys, optionSpecs } from "./options.js";
export type { Parsed } from "./parsed.js";
export {
  type LogLevel,
  parseBound,
  parseName,
  parsePath,
  parseQuotaOctets,
  parseWhole,
} from "./values.js";
