/** What each option is once it is read, and what is to be known of it before. */
import type { Endpoint, Listener } from "./endpoint.js";
import type { Parsed } from "./parsed.js";
import type { Bound, LogLevel } from "./values.js";

/** All are optional before the defaults are filled in. */
export interface OptionValues {
  readonly id: bigint;
  readonly addr: Endpoint;
  readonly bits: number;
  readonly entry: readonly Endpoint[] | "auto";
  readonly discovery: boolean;
  readonly token: string;
  readonly credentials: string;
  readonly replicas: number;
  readonly data: string;
  readonly domain: string;
  readonly smtp: Endpoint;
  readonly pop3: Endpoint;
  readonly submission: Listener;
  readonly submissions: Listener;
  readonly pop3s: Listener;
  readonly "tls-cert": string;
  readonly "tls-key": string;
  readonly "plain-auth": PlainAuth;
  readonly "auth-tries": number;
  readonly "auth-tries-per-address": number;
  readonly "auth-window": number;
  readonly "evict-after": number;
  readonly "copy-rate": number;
  readonly "copy-streams": number;
  readonly "host-name": string;
  readonly "max-message": number;
  readonly quota: Bound;
  readonly "quota-messages": Bound;
  readonly trial: boolean;
  readonly registration: Registration;
  readonly relay: Listener;
  readonly "relay-user": string;
  readonly "relay-password-file": string;
  readonly "relay-tls": RelayTls;
  readonly "relay-retry": number;
  readonly "relay-rate": number;
  /** By the names and in the units of the table of limits. */
  readonly limit: Readonly<Record<string, number>>;
  readonly "log-level": LogLevel;
}

/** Where passwords may be sent without TLS. */
export type PlainAuth = (typeof plainAuths)[number];
export const plainAuths = ["loopback", "always", "never"] as const;

/** Who may make an account by mail to the control address. */
export type Registration = (typeof registrations)[number];
export const registrations = ["open", "token", "closed"] as const;

/** How the smart host is spoken to. */
export type RelayTls = (typeof relayTlsModes)[number];
export const relayTlsModes = ["opportunistic", "required"] as const;

export type OptionKey = keyof OptionValues;

export interface OptionSpec<T> {
  /** Placeholder in the help: `--bits <n>`. */
  readonly placeholder: string;
  readonly help: string;
  readonly defaultText?: string;
  /** Types that the conf file may give it in. */
  readonly fileTypes: readonly ("string" | "number" | "array" | "object")[];
  /** Its key in the conf file, where that is not its name. */
  readonly fileKey?: string;
  readonly parse: (text: string) => Parsed<T>;
  /** The value is never repeated, in no message. */
  readonly isSecret?: boolean;
}
