/** Every option of a member, once: the command line and the conf file are both made from this. */
import { limits } from "../shared/limits.js";
import { type Endpoint, parseEndpoint } from "./endpoint.js";
import { no, ok, type Parsed } from "./parsed.js";
import {
  type Bound,
  type LogLevel,
  parseCopyRate,
  parseId,
  parseBound,
  parseLimit,
  parseLogLevel,
  parseMessageOctets,
  parseName,
  parseOnOff,
  parsePath,
  parseQuotaOctets,
  parseWhole,
} from "./values.js";

/** What each option is once it is read. All are optional before the defaults are filled in. */
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

/** A listener that may be left out. */
export type Listener = Endpoint | "off";
/** Where passwords may be sent without TLS. */
export type PlainAuth = (typeof plainAuths)[number];
export const plainAuths = ["loopback", "always", "never"] as const;

/** Who may make an account by mail to the control address. */
export type Registration = (typeof registrations)[number];
const registrations = ["open", "token", "closed"] as const;

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

const bitsMax = 160;
export const defaults = {
  bits: bitsMax,
  replicas: 2,
  domain: "ring.test",
  authTries: 10,
  authTriesPerAddress: 100,
  authWindowSeconds: 300,
  evictAfterSeconds: 600,
  copyOctetsPerSecond: 32 * 1024 * 1024,
  copyStreams: 4,
  messageOctetsMax: limits.messageOctetsMax,
  relayRetrySeconds: 60,
  /** Not with open registration: then anybody could send through the relay. */
  relayRecipientsPerHour: 1_000,
  logLevel: "info",
  /** A listener's default port is the ring port plus its well-known number. */
  smtpPortOffset: 25,
  pop3PortOffset: 110,
  submissionPortOffset: 587,
  submissionsPortOffset: 465,
  pop3sPortOffset: 995,
} as const;

const entriesMax = 64;

function parseEntries(text: string): Parsed<readonly Endpoint[] | "auto"> {
  if (text === "auto") return ok("auto");
  const entries: Endpoint[] = [];
  for (const part of text.split(",")) {
    const entry = parseEndpoint(part.trim(), { portMin: 1 });
    if (!entry.ok) return no(`${entry.why}; or auto, alone, to find a member on the LAN`);
    entries.push(entry.value);
  }
  return entries.length > entriesMax ? no(`name at most ${entriesMax} members`) : ok(entries);
}

const listener = (text: string): Parsed<Endpoint> => parseEndpoint(text, { portMin: 0 });

function optionalListener(text: string): Parsed<Listener> {
  if (text === "off") return ok("off");
  const endpoint = listener(text);
  return endpoint.ok ? endpoint : no(`${endpoint.why}, or off`);
}

function parsePlainAuth(text: string): Parsed<PlainAuth> {
  const value = plainAuths.find((one) => one === text);
  return value === undefined ? no(`be one of ${plainAuths.join(", ")}`) : ok(value);
}

function parseRegistration(text: string): Parsed<Registration> {
  const value = registrations.find((one) => one === text);
  return value === undefined ? no(`be one of ${registrations.join(", ")}`) : ok(value);
}

function parseRelay(text: string): Parsed<Listener> {
  if (text === "off") return ok("off");
  const endpoint = parseEndpoint(text, { portMin: 1 });
  return endpoint.ok ? endpoint : no(`${endpoint.why}, or off`);
}

function parseRelayTls(text: string): Parsed<RelayTls> {
  const value = relayTlsModes.find((one) => one === text);
  return value === undefined ? no(`be one of ${relayTlsModes.join(", ")}`) : ok(value);
}

/** RFC 4954: what a user name may hold is the mechanism's to say; none of them has a line end. */
function parseRelayUser(text: string): Parsed<string> {
  const isName = text.length > 0 && text.length <= 255 && !/\p{Cc}/u.test(text);
  return isName ? ok(text) : no("be 1 to 255 characters on one line");
}

const tokenShape = /^rp1_[A-Za-z0-9_-]+$/;

function parseToken(text: string): Parsed<string> {
  return tokenShape.test(text) ? ok(text) : no("be what chord token printed, rp1_…");
}

export const optionSpecs: { readonly [K in OptionKey]: OptionSpec<OptionValues[K]> } = {
  id: {
    placeholder: "<id>",
    help: "place on the circle, decimal or 0x hex",
    defaultText: "SHA-1 of --addr",
    fileTypes: ["number", "string"],
    parse: parseId,
  },
  addr: {
    placeholder: "<host:port>",
    help: "where this member serves the ring, as the others reach it",
    fileTypes: ["string"],
    parse: (text) => parseEndpoint(text, { portMin: 1 }),
  },
  bits: {
    placeholder: "<n>",
    help: "size of the circle, 2^n ids; the same on every member",
    defaultText: String(defaults.bits),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: bitsMax }),
  },
  entry: {
    placeholder: "<host:port>",
    help: "a member of the ring to join, repeatable, or auto; none: start a new ring",
    fileTypes: ["string", "array"],
    parse: parseEntries,
  },
  discovery: {
    placeholder: "<on|off>",
    help: "tell who asks on this member's LAN (UDP 25110) where it is",
    defaultText: "on, but off on loopback",
    fileTypes: ["string"],
    parse: parseOnOff,
  },
  token: {
    placeholder: "<text>",
    help: "what chord token printed, to join from another machine; or RINGPOST_TOKEN",
    fileTypes: ["string"],
    parse: parseToken,
    isSecret: true,
  },
  credentials: {
    placeholder: "<dir>",
    help: "a member's secrets directory, to join without a token; or RINGPOST_CREDENTIALS",
    fileTypes: ["string"],
    parse: parsePath,
  },
  replicas: {
    placeholder: "<r>",
    help: "copies of everything besides the first; the same on every member",
    defaultText: String(defaults.replicas),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 0, max: 16 }),
  },
  data: {
    placeholder: "<dir>",
    help: "where this member keeps its data",
    defaultText: "data/<addr>",
    fileTypes: ["string"],
    parse: parsePath,
  },
  domain: {
    placeholder: "<name>",
    help: "the mail domain that the ring serves",
    defaultText: defaults.domain,
    fileTypes: ["string"],
    parse: parseName,
  },
  smtp: {
    placeholder: "<host:port>",
    help: "SMTP listener",
    defaultText: "ring port + 25",
    fileTypes: ["string"],
    parse: listener,
  },
  pop3: {
    placeholder: "<host:port>",
    help: "POP3 listener",
    defaultText: "ring port + 110",
    fileTypes: ["string"],
    parse: listener,
  },
  submission: {
    placeholder: "<host:port>",
    help: "submission listener (SMTP with AUTH, STARTTLS), or off",
    defaultText: "ring port + 587",
    fileTypes: ["string"],
    parse: optionalListener,
  },
  submissions: {
    placeholder: "<host:port>",
    help: "submission listener with TLS from the first octet, or off",
    defaultText: "ring port + 465",
    fileTypes: ["string"],
    parse: optionalListener,
  },
  pop3s: {
    placeholder: "<host:port>",
    help: "POP3 listener with TLS from the first octet, or off",
    defaultText: "ring port + 995",
    fileTypes: ["string"],
    parse: optionalListener,
  },
  "tls-cert": {
    placeholder: "<file>",
    help: "certificate chain of the mail listeners, PEM; read again when it changes",
    defaultText: "a self-signed one, made once",
    fileTypes: ["string"],
    parse: parsePath,
  },
  "tls-key": {
    placeholder: "<file>",
    help: "its private key, PEM",
    fileTypes: ["string"],
    parse: parsePath,
  },
  "plain-auth": {
    placeholder: "<where>",
    help: "passwords without TLS are taken on loopback, always or never",
    defaultText: "loopback",
    fileTypes: ["string"],
    parse: parsePlainAuth,
  },
  "auth-tries": {
    placeholder: "<n>",
    help: "wrong passwords of one account, in the whole ring; the same on every member",
    defaultText: `${defaults.authTries} within --auth-window`,
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 1_000 }),
  },
  "auth-tries-per-address": {
    placeholder: "<n>",
    help: "wrong passwords from one client address, in the whole ring",
    defaultText: `${defaults.authTriesPerAddress} within --auth-window`,
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 1_000 }),
  },
  "auth-window": {
    placeholder: "<seconds>",
    help: "a wrong password counts for so long",
    defaultText: String(defaults.authWindowSeconds),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 86_400, unit: "seconds" }),
  },
  "evict-after": {
    placeholder: "<seconds>",
    help: "a member silent for longer loses its place",
    defaultText: String(defaults.evictAfterSeconds),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 31_536_000, unit: "seconds" }),
  },
  "copy-rate": {
    placeholder: "<size>",
    help: "octets a second copied from other members at the most, or as 32M",
    defaultText: "32M",
    fileTypes: ["number", "string"],
    parse: parseCopyRate,
  },
  "copy-streams": {
    placeholder: "<n>",
    help: "fetches from other members under way at a time",
    defaultText: String(defaults.copyStreams),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 64 }),
  },
  "host-name": {
    placeholder: "<name>",
    help: "name in the SMTP greeting",
    defaultText: "this machine's",
    fileTypes: ["string"],
    parse: parseName,
  },
  "max-message": {
    placeholder: "<size>",
    help: "largest mail accepted, in octets or as 10M",
    defaultText: "64M",
    fileTypes: ["number", "string"],
    parse: parseMessageOctets,
  },
  quota: {
    placeholder: "<size>",
    help: "octets in a mailbox whose account has no quota, as 10G, or none",
    defaultText: "none",
    fileTypes: ["number", "string"],
    parse: parseQuotaOctets,
  },
  "quota-messages": {
    placeholder: "<n>",
    help: "mails in a mailbox whose account has no quota, or none",
    defaultText: "none",
    fileTypes: ["number", "string"],
    parse: parseBound,
  },
  trial: {
    placeholder: "<on|off>",
    help: "recipients temperror, permerror and timeout fail on purpose",
    defaultText: "off",
    fileTypes: ["string"],
    parse: parseOnOff,
  },
  registration: {
    placeholder: "<policy>",
    help: "programs make accounts by mail: open, with a token (chord invite), or closed",
    defaultText: "closed",
    fileTypes: ["string"],
    parse: parseRegistration,
  },
  relay: {
    placeholder: "<host:port>",
    help: "mail server that takes what leaves the ring, of the middleware and of users, or off",
    defaultText: "off",
    fileTypes: ["string"],
    parse: parseRelay,
  },
  "relay-user": {
    placeholder: "<name>",
    help: "who this ring is at the relay",
    defaultText: "no login",
    fileTypes: ["string"],
    parse: parseRelayUser,
  },
  "relay-password-file": {
    placeholder: "<file>",
    help: "that user's password, mode 0600",
    fileTypes: ["string"],
    parse: parsePath,
  },
  "relay-tls": {
    placeholder: "<how>",
    help: "to the relay: opportunistic (as offered), or required, with a certificate that is checked",
    defaultText: "opportunistic; with --relay-user required, but for loopback",
    fileTypes: ["string"],
    parse: parseRelayTls,
  },
  "relay-retry": {
    placeholder: "<seconds>",
    help: "before a mail that the relay did not take is sent again; doubled up to an hour",
    defaultText: String(defaults.relayRetrySeconds),
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 1, max: 3_600, unit: "seconds" }),
  },
  "relay-rate": {
    placeholder: "<n>",
    help: "recipients elsewhere for mail of one user in an hour, at each member; 0: users' mail stays",
    defaultText: `${defaults.relayRecipientsPerHour}; 0 with --registration open`,
    fileTypes: ["number"],
    parse: (text) => parseWhole(text, { min: 0, max: 1_000_000, unit: "recipients" }),
  },
  limit: {
    placeholder: "<name=value>",
    help: "a limit of a listener, repeatable; chord limits lists them",
    fileTypes: ["object"],
    fileKey: "limits",
    parse: parseLimit,
  },
  "log-level": {
    placeholder: "<level>",
    help: "silent, fatal, error, warn, info, debug or trace",
    defaultText: defaults.logLevel,
    fileTypes: ["string"],
    parse: parseLogLevel,
  },
};

export const optionKeys = Object.keys(optionSpecs) as readonly OptionKey[];

const fileKeyOf = (key: OptionKey): string => optionSpecs[key].fileKey ?? key;

/** The keys of the conf file. */
export const fileKeys: readonly string[] = optionKeys.map(fileKeyOf);

export function optionOfFileKey(fileKey: string): OptionKey | undefined {
  return optionKeys.find((key) => fileKeyOf(key) === fileKey);
}
