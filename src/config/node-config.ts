import { hostname } from "node:os";
import { resolve } from "node:path";
import type { Address, RingId } from "../shared/ids.js";
import { type RawOption, readConfFile } from "./conf-file.js";
import { ConfigError } from "./config-error.js";
import { defaults } from "./defaults.js";
import { type ListenerLimits, listenerLimits } from "./limits.js";
import {
  type Endpoint,
  formatEndpoint,
  isLoopback,
  isWildcard,
  type Listener,
  portMax,
} from "./endpoint.js";
import type {
  OptionKey,
  OptionValues,
  PlainAuth,
  Registration,
  RelayTls,
} from "./option-values.js";
import { optionKeys, optionSpecs } from "./options.js";
import { fitsBits, type LogLevel, parseName } from "./values.js";

/** Everything a member has to know to run; complete, checked and frozen. */
export interface NodeConfig {
  /** Absent: the first `bits` bits of SHA-1(addr); the ring's room knows how. */
  readonly id: RingId | undefined;
  /** How the other members reach this one, and where it listens for them: `ring` as text. */
  readonly addr: Address;
  readonly ring: Endpoint;
  /** The circle has 2^bits ids. */
  readonly bits: number;
  /** Members to join through, without this one. Empty: a new ring, or what the data remembers. */
  readonly entries: readonly Address[];
  /** They are to be looked for on the LAN, if the data is no member's yet. */
  readonly findEntries: boolean;
  /** Tells who asks on its LAN where it is. */
  readonly discovery: boolean;
  /** To join from another machine: what `chord token` printed. Not to be logged. */
  readonly token: string | undefined;
  /** Absolute: a secrets directory of the ring to join, in place of a token. */
  readonly credentialsDir: string | undefined;
  /** r: copies besides the first. */
  readonly replicas: number;
  /** Absolute. */
  readonly dataDir: string;
  /** Lower case. */
  readonly domain: string;
  /** Port 0: the system picks one, `RunningNode.info` tells which. */
  readonly smtp: Endpoint;
  readonly pop3: Endpoint;
  readonly submission: Listener;
  readonly submissions: Listener;
  readonly pop3s: Listener;
  /** Absent: the node's self-signed certificate. */
  readonly tls: { readonly certPath: string; readonly keyPath: string } | undefined;
  readonly plainAuth: PlainAuth;
  /** Wrong passwords that are checked within a window, across the ring. */
  readonly tries: {
    readonly perAccount: number;
    readonly perAddress: number;
    readonly windowMs: number;
  };
  readonly evictAfterMs: number;
  /** Bounds of what this member copies from the others when members come, go or differ. */
  readonly copyOctetsPerSecond: number;
  readonly copyStreams: number;
  /** In the SMTP greeting and in `Received:`. */
  readonly hostName: string;
  readonly messageOctetsMax: number;
  /** Of mailboxes whose account has no quota of its own. Absent: no bound. */
  readonly quota: { readonly octets?: number; readonly messages?: number };
  /** Recipients that fail on purpose are there. */
  readonly trial: boolean;
  readonly registration: Registration;
  /** Absent: no mail leaves the ring. */
  readonly relay: RelayConfig | undefined;
  /** The other limits, for each kind of listener. */
  readonly limits: ListenerLimits;
  readonly logLevel: LogLevel;
}

/** The smart host through which mail leaves the ring. */
export interface RelayConfig {
  readonly host: string;
  readonly port: number;
  readonly login: { readonly user: string; readonly passwordPath: string } | undefined;
  readonly tls: RelayTls;
  readonly firstRetryMs: number;
  /** What a user may send to other domains, at each member. 0: nothing. */
  readonly recipientsPerHour: number;
}

/** The command line's options as typed, by name; an option given twice has two texts. */
export type FlagTexts = { readonly [K in OptionKey]?: readonly string[] };

/**
 * Flags win over the conf file, the file wins over the defaults.
 * @throws ConfigError
 */
export async function loadNodeConfig(
  flags: FlagTexts,
  { confPath }: { readonly confPath?: string | undefined } = {},
): Promise<NodeConfig> {
  const fromFile = confPath === undefined ? [] : await readConfFile(confPath);
  return resolveNodeConfig([...fromFile, ...flagOptions(flags)]);
}

function flagOptions(flags: FlagTexts): RawOption[] {
  return optionKeys.flatMap((key): readonly RawOption[] => {
    const texts = flags[key];
    if (texts === undefined || texts.length === 0) return [];
    if (key === "limit") return texts.map((text) => ({ key, text, origin: `--limit ${text}` }));
    const text = key === "entry" ? texts.join(",") : (texts.at(-1) ?? "");
    const shown = optionSpecs[key].isSecret === true ? "" : ` ${text === "" ? '""' : text}`;
    return [{ key, text, origin: `--${key}${shown}` }];
  });
}

interface Given {
  readonly values: Partial<OptionValues>;
  /** Where each came from, for errors that concern several. */
  readonly origins: { readonly [K in OptionKey]?: string };
}

/** Later options win over earlier ones. @throws ConfigError */
function resolveNodeConfig(raw: readonly RawOption[]): NodeConfig {
  const given = readValues(raw);
  const { values } = given;
  const ring = ringEndpoint(given);
  const bits = values.bits ?? defaults.bits;
  const listeners = {
    smtp: values.smtp ?? beside(ring, "smtp", defaults.smtpPortOffset),
    pop3: values.pop3 ?? beside(ring, "pop3", defaults.pop3PortOffset),
    submission: values.submission ?? beside(ring, "submission", defaults.submissionPortOffset),
    submissions: values.submissions ?? beside(ring, "submissions", defaults.submissionsPortOffset),
    pop3s: values.pop3s ?? beside(ring, "pop3s", defaults.pop3sPortOffset),
  };
  refuseSharedPorts({ addr: ring, ...listeners });
  const addr = formatEndpoint(ring) as Address;
  return Object.freeze({
    id: ringId(given, bits),
    addr,
    ring: Object.freeze(ring),
    bits,
    entries: Object.freeze(entriesBesides(addr, given)),
    findEntries: values.entry === "auto",
    // On loopback there is no LAN; `chord up` asks for it, for programs on the same machine.
    discovery: values.discovery ?? !isLoopback(ring.host),
    token: values.token,
    credentialsDir: values.credentials === undefined ? undefined : resolve(values.credentials),
    replicas: values.replicas ?? defaults.replicas,
    dataDir: resolve(values.data ?? defaultDataDir(addr)),
    domain: values.domain ?? defaults.domain,
    ...listeners,
    tls: tlsPaths(given),
    plainAuth: values["plain-auth"] ?? "loopback",
    tries: Object.freeze({
      perAccount: values["auth-tries"] ?? defaults.authTries,
      perAddress: values["auth-tries-per-address"] ?? defaults.authTriesPerAddress,
      windowMs: (values["auth-window"] ?? defaults.authWindowSeconds) * 1_000,
    }),
    evictAfterMs: (values["evict-after"] ?? defaults.evictAfterSeconds) * 1_000,
    copyOctetsPerSecond: values["copy-rate"] ?? defaults.copyOctetsPerSecond,
    copyStreams: values["copy-streams"] ?? defaults.copyStreams,
    hostName: values["host-name"] ?? machineName(),
    messageOctetsMax: values["max-message"] ?? defaults.messageOctetsMax,
    quota: quotaOf(values),
    trial: values.trial ?? false,
    registration: values.registration ?? "closed",
    relay: relayOf(given),
    limits: listenerLimits(values.limit ?? {}),
    logLevel: values["log-level"] ?? defaults.logLevel,
  });
}

function readValues(raw: readonly RawOption[]): Given {
  const values: Record<string, unknown> = {};
  const origins: { [K in OptionKey]?: string } = {};
  for (const { key, text, origin } of raw) {
    const parsed = optionSpecs[key].parse(text);
    if (!parsed.ok) throw new ConfigError(`${origin}: must ${parsed.why}`);
    // Limits add up, whatever gives them; all other options have one value.
    const value: unknown = parsed.value;
    values[key] = key === "limit" ? Object.assign({}, values[key], value) : value;
    origins[key] = origin;
  }
  // Each value was made by the reader of its own key.
  return { values: values as Partial<OptionValues>, origins };
}

function ringEndpoint({ values, origins }: Given): Endpoint {
  if (values.addr === undefined) {
    throw new ConfigError(
      "--addr is missing: give the host:port this member serves the ring on, " +
        "or try a whole ring on this machine with: chord up",
    );
  }
  if (isWildcard(values.addr.host)) {
    throw new ConfigError(
      `${origins.addr ?? "--addr"}: must be an address that the other members can call; ` +
        "use --smtp and --pop3 to listen for mail on every interface",
    );
  }
  return values.addr;
}

function ringId({ values, origins }: Given, bits: number): RingId | undefined {
  if (values.id === undefined) return undefined;
  if (fitsBits(values.id, bits)) return values.id;
  const last = (1n << BigInt(bits)) - 1n;
  throw new ConfigError(`${origins.id ?? "--id"}: must be from 0 to ${last} with --bits ${bits}`);
}

/** Certificate and key come together or not at all. */
function tlsPaths({ values, origins }: Given): NodeConfig["tls"] {
  const { "tls-cert": cert, "tls-key": key } = values;
  if (cert !== undefined && key !== undefined) {
    return Object.freeze({ certPath: resolve(cert), keyPath: resolve(key) });
  }
  if (cert === undefined && key === undefined) return undefined;
  const given = cert === undefined ? origins["tls-key"] : origins["tls-cert"];
  const missing = cert === undefined ? "tls-cert" : "tls-key";
  throw new ConfigError(`${given ?? "--tls-cert"}: needs --${missing} as well`);
}

function relayOf({ values, origins }: Given): NodeConfig["relay"] {
  const { relay = "off", "relay-user": user, "relay-password-file": file } = values;
  if (relay === "off") return undefined;
  if ((user === undefined) !== (file === undefined)) {
    const given = user === undefined ? origins["relay-password-file"] : origins["relay-user"];
    const missing = user === undefined ? "relay-user" : "relay-password-file";
    throw new ConfigError(`${given ?? "--relay-user"}: needs --${missing} as well`);
  }
  const isSafe = user === undefined || isLoopback(relay.host);
  const tls = values["relay-tls"] ?? (isSafe ? "opportunistic" : "required");
  if (tls === "opportunistic" && !isSafe) {
    throw new ConfigError(
      `${origins["relay-tls"] ?? "--relay-tls"}: would show the password of ${relay.host} to ` +
        "whoever is in between; use required, or a relay on loopback",
    );
  }
  // Strangers that make accounts for themselves must not make this an open relay.
  const isOpen = values.registration === "open";
  return Object.freeze({
    ...relay,
    login:
      user === undefined || file === undefined
        ? undefined
        : Object.freeze({ user, passwordPath: resolve(file) }),
    tls,
    firstRetryMs: (values["relay-retry"] ?? defaults.relayRetrySeconds) * 1_000,
    recipientsPerHour: values["relay-rate"] ?? (isOpen ? 0 : defaults.relayRecipientsPerHour),
  });
}

function quotaOf({
  quota = "none",
  "quota-messages": messages = "none",
}: Partial<OptionValues>): NodeConfig["quota"] {
  return Object.freeze({
    ...(quota !== "none" && { octets: quota }),
    ...(messages !== "none" && { messages }),
  });
}

type ListenerKey = "smtp" | "pop3" | "submission" | "submissions" | "pop3s";

function beside(ring: Endpoint, key: ListenerKey, offset: number): Endpoint {
  const port = ring.port + offset;
  if (port <= portMax) return { host: ring.host, port };
  throw new ConfigError(
    `--addr ${formatEndpoint(ring)}: leaves no default port for ${key} ` +
      `(${ring.port} + ${offset} is over ${portMax}); give --${key} host:port`,
  );
}

function refuseSharedPorts(endpoints: Readonly<Record<"addr" | ListenerKey, Listener>>): void {
  const seen = new Map<string, string>();
  for (const [key, endpoint] of Object.entries(endpoints)) {
    if (endpoint === "off") continue;
    const text = formatEndpoint(endpoint);
    const other = seen.get(text);
    if (endpoint.port !== 0 && other !== undefined) {
      throw new ConfigError(`--${other} and --${key} are both ${text}; give one another port`);
    }
    seen.set(text, key);
  }
}

/** One list of members may serve as everybody's `--entry`; a member never joins through itself. */
function entriesBesides(self: Address, { values, origins }: Given): Address[] {
  if (values.entry === undefined || values.entry === "auto") return [];
  const all = new Set(values.entry.map((entry) => formatEndpoint(entry) as Address));
  const others = [...all].filter((entry) => entry !== self);
  if (others.length > 0) return others;
  throw new ConfigError(
    `${origins.entry ?? "--entry"}: names only this member itself; ` +
      "give another member, or leave it out to start a new ring",
  );
}

/** `data/127.0.0.1_5000`: every member of a machine has a directory of its own. */
function defaultDataDir(addr: Address): string {
  return `data/${addr.replaceAll(/[^A-Za-z0-9.-]+/g, "_").replace(/^_/, "")}`;
}

function machineName(): string {
  const parsed = parseName(hostname());
  return parsed.ok ? parsed.value : "localhost";
}
