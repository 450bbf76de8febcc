/** An option that can't be used. `message` is one line that says which, why and what to do. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
