/**
 * Every limit of the listeners that can be set, once: `--limit name=value`, `"limits"` of the conf
 * file and `chord limits` are made from this. To add one, add its row; a test compares the rows
 * with what the listeners have.
 */

/** In which the value is given. `octets` may also be written as 64K or 1M. */
export type LimitUnit =
  | "octets"
  | "seconds"
  | "milliseconds"
  | "connections"
  | "commands"
  | "errors"
  | "recipients";

export interface LimitSpec {
  /** Name of the field in the listener's limits. Times are kept there in milliseconds. */
  readonly field: string;
  readonly unit: LimitUnit;
  /** In `unit`, as are `min` and `max`. */
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly help: string;
  /** Why it can't be less, where a standard says so. */
  readonly floor?: string;
}

const million = 1_000_000;
const day = 86_400;
const mebi = 2 ** 20;

/** Of each SMTP listener. The largest mail is the option `max-message`. */
export const smtpLimitSpecs = {
  "smtp-connections": {
    ...{ field: "connectionsMax", unit: "connections", default: 2_000, min: 1, max: million },
    help: "clients at a time; more are told 421",
  },
  "smtp-connections-per-address": {
    ...{ field: "connectionsPerAddressMax", unit: "connections", default: 500 },
    ...{ min: 1, max: million, help: "clients at a time from one address" },
  },
  "smtp-command-octets": {
    ...{ field: "commandOctetsMax", unit: "octets", default: 4_096, min: 512, max: mebi },
    ...{ help: "a command line with its end", floor: "RFC 5321 §4.5.3.1.4" },
  },
  "smtp-recipients": {
    ...{ field: "recipientsMax", unit: "recipients", default: 1_000, min: 100, max: million },
    ...{ help: "recipients of one mail; more are told 452", floor: "RFC 5321 §4.5.3.1.8" },
  },
  "smtp-command-time": {
    ...{ field: "commandMs", unit: "seconds", default: 300, min: 300, max: day },
    ...{ help: "for the next command to arrive whole", floor: "RFC 5321 §4.5.3.2.7" },
  },
  "smtp-data-block-octets": {
    ...{ field: "dataBlockOctets", unit: "octets", default: 1_024, min: 1, max: mebi },
    help: "least that a client sends of a mail in each smtp-data-block-time",
  },
  "smtp-data-block-time": {
    ...{ field: "dataBlockMs", unit: "seconds", default: 180, min: 1, max: day },
    help: "for the next smtp-data-block-octets of a mail: with them the least rate",
  },
  "smtp-transaction-time": {
    ...{ field: "transactionMs", unit: "seconds", default: 1_800, min: 60, max: 7 * day },
    help: "from one mail to the end of the next, whatever the client does meanwhile",
  },
  "smtp-store-time": {
    ...{ field: "receiverMs", unit: "seconds", default: 60, min: 1, max: 600 },
    help: "for the ring to take a mail; then the client is told 451",
  },
  "smtp-body-memory": {
    ...{ field: "bodyMemoryOctetsMax", unit: "octets", default: 64 * mebi, min: mebi },
    ...{ max: 2 ** 40, help: "mails being received in memory, in all; more go through files" },
  },
  "smtp-greeting-hold": {
    ...{ field: "greetingHoldMs", unit: "milliseconds", default: 3, min: 1, max: 10_000 },
    help: "how long a greeting is held back to see who talks first",
  },
  "smtp-early-talker-hold": {
    ...{ field: "earlyTalkerHoldMs", unit: "milliseconds", default: 1_000, min: 1, max: 60_000 },
    help: "the same for an address that talked first before",
  },
  "smtp-early-talker-memory": {
    ...{ field: "earlyTalkerMemoryMs", unit: "seconds", default: 600, min: 1, max: 7 * day },
    help: "for how long that is remembered",
  },
  "smtp-header-octets": {
    ...{ field: "headerOctetsMax", unit: "octets", default: 512 * 1_024, min: 64 * 1_024 },
    ...{ max: 64 * mebi, help: "header of a mail" },
  },
  "smtp-auth-line-octets": {
    ...{ field: "authLineOctetsMax", unit: "octets", default: 12_288, min: 12_288, max: mebi },
    ...{ help: "a line of an AUTH exchange", floor: "RFC 4954 §4" },
  },
  "smtp-commands-per-mail": {
    ...{ field: "commandsPerMailMax", unit: "commands", default: 200_000, min: 200, max: million },
    help: "commands from one mail to the next, refused recipients among them",
  },
  "smtp-errors-per-mail": {
    ...{ field: "errorsPerMailMax", unit: "errors", default: 100, min: 1, max: million },
    help: "replies of 500 and above from one mail to the next",
  },
  "smtp-commands-before-auth": {
    ...{ field: "commandsBeforeAuthMax", unit: "commands", default: 50, min: 5, max: million },
    help: "commands before AUTH where it is required",
  },
  "smtp-auth-failures": {
    ...{ field: "authFailuresMax", unit: "errors", default: 10, min: 1, max: 1_000 },
    help: "wrong passwords on one connection",
  },
  "smtp-handshake-time": {
    ...{ field: "handshakeMs", unit: "seconds", default: 60, min: 1, max: 600 },
    help: "for a TLS handshake to be over",
  },
  "smtp-session-time": {
    ...{ field: "sessionMs", unit: "seconds", default: day, min: 60, max: 7 * day },
    help: "from the greeting to the last mail that may begin",
  },
} as const satisfies Record<string, LimitSpec>;

/** Of each POP3 listener. */
export const pop3LimitSpecs = {
  "pop3-connections": {
    ...{ field: "connectionsMax", unit: "connections", default: 1_000, min: 1, max: million },
    help: "clients at a time; more are told -ERR [SYS/TEMP]",
  },
  "pop3-connections-per-address": {
    ...{ field: "connectionsPerAddressMax", unit: "connections", default: 100 },
    ...{ min: 1, max: million, help: "clients at a time from one address" },
  },
  "pop3-command-octets": {
    ...{ field: "commandOctetsMax", unit: "octets", default: 512, min: 255, max: mebi },
    ...{ help: "a command line with its end", floor: "RFC 2449 §4" },
  },
  "pop3-sasl-octets": {
    ...{ field: "saslOctetsMax", unit: "octets", default: 12_288, min: 512, max: mebi },
    help: "a line of an AUTH exchange; tokens are long",
  },
  "pop3-commands-before-login": {
    ...{ field: "unauthenticatedCommandsMax", unit: "commands", default: 50, min: 5, max: million },
    help: "without a login; then the connection ends",
  },
  "pop3-errors": {
    ...{ field: "errorsMax", unit: "errors", default: 50, min: 1, max: million },
    help: "unknown or malformed commands; then the connection ends",
  },
  "pop3-auth-failures": {
    ...{ field: "authFailuresMax", unit: "errors", default: 10, min: 1, max: million },
    help: "failed logins of one connection; then it ends",
  },
  "pop3-login-time": {
    ...{ field: "loginDeadlineMs", unit: "seconds", default: 60, min: 5, max: day },
    help: "from the connection to a login, TLS included",
  },
  "pop3-handshake-time": {
    ...{ field: "handshakeDeadlineMs", unit: "seconds", default: 30, min: 1, max: day },
    help: "for a TLS handshake",
  },
  "pop3-idle-time": {
    ...{ field: "idleDeadlineMs", unit: "seconds", default: 600, min: 600, max: 7 * day },
    ...{ help: "between two commands", floor: "RFC 1939 §3: at least 10 minutes" },
  },
  "pop3-session-time": {
    ...{ field: "sessionDeadlineMs", unit: "seconds", default: day, min: 600, max: 365 * day },
    ...{ help: "from the connection to its end", floor: "RFC 1939 §3: at least 10 minutes" },
  },
  "pop3-write-stall": {
    ...{ field: "writeStallMs", unit: "seconds", default: 120, min: 1, max: day },
    help: "for a client to take 64 KiB of what is sent to it: the least rate",
  },
  "pop3-check-time": {
    ...{ field: "authDeadlineMs", unit: "seconds", default: 30, min: 1, max: 600 },
    help: "for the ring to check a login; then the client is told -ERR [SYS/TEMP]",
  },
  "pop3-read-time": {
    ...{ field: "readDeadlineMs", unit: "seconds", default: 30, min: 1, max: 600 },
    help: "for the ring to give a mail, or the next piece of it",
  },
  "pop3-commit-time": {
    ...{ field: "commitDeadlineMs", unit: "seconds", default: 30, min: 1, max: 600 },
    help: "for the ring to make deletions durable at QUIT",
  },
} as const satisfies Record<string, LimitSpec>;

export const limitSpecs: Readonly<Record<string, LimitSpec>> = {
  ...smtpLimitSpecs,
  ...pop3LimitSpecs,
};

type FieldOf<Specs extends Record<string, LimitSpec>> = Specs[keyof Specs]["field"];

/** All limits, by the names and in the units of the listeners. */
export interface ListenerLimits {
  readonly smtp: { readonly [F in FieldOf<typeof smtpLimitSpecs>]: number };
  readonly pop3: { readonly [F in FieldOf<typeof pop3LimitSpecs>]: number };
}

/** `values`: what was set, by the names of the table and in its units. */
export function listenerLimits(values: Readonly<Record<string, number>>): ListenerLimits {
  return Object.freeze({
    smtp: fieldsOf(smtpLimitSpecs, values),
    pop3: fieldsOf(pop3LimitSpecs, values),
  });
}

function fieldsOf<F extends string>(
  specs: Readonly<Record<string, LimitSpec & { readonly field: F }>>,
  values: Readonly<Record<string, number>>,
): { readonly [K in F]: number } {
  const fields = Object.entries(specs).map(([name, spec]) => {
    const value = values[name] ?? spec.default;
    return [spec.field, spec.unit === "seconds" ? value * 1_000 : value];
  });
  // Each field of the type is the field of a row.
  return Object.freeze(Object.fromEntries(fields)) as { readonly [K in F]: number };
}
