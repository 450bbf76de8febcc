import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type FlagTexts, loadNodeConfig } from "./node-config.js";
import { listenerLimits } from "./limits.js";
import { fileKeys } from "./options.js";

const folder = mkdtempSync(join(tmpdir(), "ringpost-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function confFile(text: string): string {
  files += 1;
  const path = join(folder, `${files}.json`);
  writeFileSync(path, text);
  return path;
}

const addr = ["127.0.0.1:5000"];

test("an address is enough", async () => {
  const config = await loadNodeConfig({ addr });
  expect(config).toEqual({
    id: undefined,
    addr: "127.0.0.1:5000",
    ring: { host: "127.0.0.1", port: 5000 },
    bits: 160,
    entries: [],
    findEntries: false,
    discovery: false,
    token: undefined,
    credentialsDir: undefined,
    replicas: 2,
    dataDir: resolve("data/127.0.0.1_5000"),
    domain: "ring.test",
    smtp: { host: "127.0.0.1", port: 5025 },
    pop3: { host: "127.0.0.1", port: 5110 },
    submission: { host: "127.0.0.1", port: 5587 },
    submissions: { host: "127.0.0.1", port: 5465 },
    pop3s: { host: "127.0.0.1", port: 5995 },
    tls: undefined,
    plainAuth: "loopback",
    tries: { perAccount: 10, perAddress: 100, windowMs: 300_000 },
    evictAfterMs: 600_000,
    copyOctetsPerSecond: 32 * 1024 * 1024,
    copyStreams: 4,
    hostName: hostname().toLowerCase(),
    messageOctetsMax: 64 * 1024 * 1024,
    quota: {},
    trial: false,
    registration: "closed",
    relay: undefined,
    limits: listenerLimits({}),
    logLevel: "info",
  });
  expect(Object.isFrozen(config)).toBe(true);
});

describe("the relay", () => {
  const login = { "relay-user": ["ring"], "relay-password-file": ["/etc/pw"] };

  test.each([
    [{}, undefined],
    [{ relay: ["off"], ...login }, undefined],
    [
      { relay: ["mx.test:25"] },
      { host: "mx.test", port: 25, login: undefined, tls: "opportunistic", firstRetryMs: 60_000 },
    ],
    [
      { relay: ["mx.test:587"], ...login, "relay-retry": ["5"] },
      { tls: "required", login: { user: "ring", passwordPath: "/etc/pw" }, firstRetryMs: 5_000 },
    ],
    [
      { relay: ["127.0.0.1:25"], ...login },
      { tls: "opportunistic", recipientsPerHour: 1_000 },
    ],
    // Whoever made an account for themselves would send what they like.
    [{ relay: ["mx.test:25"], registration: ["open"] }, { recipientsPerHour: 0 }],
    [
      { relay: ["mx.test:25"], registration: ["open"], "relay-rate": ["50"] },
      { recipientsPerHour: 50 },
    ],
    [{ relay: ["mx.test:25"], registration: ["token"] }, { recipientsPerHour: 1_000 }],
    [{ relay: ["mx.test:25"], "relay-rate": ["0"] }, { recipientsPerHour: 0 }],
    [{ relay: ["mx.test:25"], "relay-tls": ["required"] }, { tls: "required" }],
  ] as readonly [FlagTexts, object | undefined][])("%j", async (flags, expected) => {
    const { relay } = await loadNodeConfig({ addr, ...flags });
    if (expected === undefined) expect(relay).toBeUndefined();
    else expect(relay).toMatchObject(expected);
  });

  test.each([
    [{ relay: ["mx.test"] }, /^--relay mx\.test: must be host:port, .*, or off$/],
    [{ relay: ["mx.test:0"] }, /must have a port from 1/],
    [{ relay: ["mx.test:25"], "relay-tls": ["maybe"] }, /must be one of opportunistic, required/],
    [{ relay: ["mx.test:25"], "relay-user": ["a"] }, /needs --relay-password-file as well/],
    [{ relay: ["mx.test:25"], "relay-password-file": ["a"] }, /needs --relay-user as well/],
    [
      { relay: ["mx.test:25"], ...login, "relay-tls": ["opportunistic"] },
      /would show the password of mx\.test/,
    ],
    [{ relay: ["mx.test:25"], "relay-user": ["a\nb"] }, /must be 1 to 255 characters on one line/],
  ] as readonly [FlagTexts, RegExp][])("%j is refused", async (flags, message) => {
    await expect(loadNodeConfig({ addr, ...flags })).rejects.toThrow(message);
  });
});

test("the quota of all accounts and the trial", async () => {
  const confPath = confFile('{ "addr": "a:1000", "quota": "1G", "trial": "on" }');
  const config = await loadNodeConfig({}, { confPath });
  expect(config).toMatchObject({ quota: { octets: 2 ** 30 }, trial: true });
  const both = await loadNodeConfig({ quota: ["none"], "quota-messages": ["10"] }, { confPath });
  expect(both.quota).toEqual({ messages: 10 });
  for (const bad of ["0", "-1", "much", "1e400"]) {
    await expect(loadNodeConfig({ addr, quota: [bad] })).rejects.toThrow(/must be a size such as/);
  }
  await expect(loadNodeConfig({ addr, trial: ["yes"] })).rejects.toThrow(/must be on or off/);
});

test("a member can be discovered on its LAN, and looks for entries there when told to", async () => {
  expect(await loadNodeConfig({ addr: ["10.0.0.1:5000"] })).toMatchObject({ discovery: true });
  expect(await loadNodeConfig({ addr, discovery: ["on"] })).toMatchObject({ discovery: true });
  const off = { addr: ["10.0.0.1:5000"], discovery: ["off"], entry: ["auto"] };
  expect(await loadNodeConfig(off)).toMatchObject({
    ...{ discovery: false, findEntries: true, entries: [] },
  });
  for (const entry of ["auto,b:1", "a:1,auto"]) {
    await expect(loadNodeConfig({ addr, entry: [entry] })).rejects.toThrow(/or auto, alone/);
  }
});

test("flags win over the file, the file wins over the defaults", async () => {
  const confPath = confFile('{ "addr": "a:1000", "bits": 8, "replicas": 1 }');
  const config = await loadNodeConfig({ bits: ["9"] }, { confPath });
  expect(config).toMatchObject({ addr: "a:1000", bits: 9, replicas: 1, domain: "ring.test" });
});

test("a flag given twice: the last one wins, entries add up", async () => {
  const flags = { addr, bits: ["3", "4"], entry: ["b:1,c:2", "d:3", "b:1"] };
  const config = await loadNodeConfig(flags);
  expect(config).toMatchObject({ bits: 4, entries: ["b:1", "c:2", "d:3"] });
});

test("limits add up: the file's, then the flags; times are given in seconds", async () => {
  const confPath = confFile(`{ "addr": "a:1000", "limits": {
    "pop3-idle-time": 900, "pop3-connections": 5, "smtp-data-block-octets": "2K"
  } }`);
  const limit = ["pop3-connections=7", "smtp-greeting-hold=20", "pop3-session-time=3600"];
  expect((await loadNodeConfig({ limit }, { confPath })).limits).toMatchObject({
    smtp: { dataBlockOctets: 2_048, greetingHoldMs: 20 },
    pop3: {
      idleDeadlineMs: 900_000,
      connectionsMax: 7,
      sessionDeadlineMs: 3_600_000,
      errorsMax: 50,
    },
  });
});

const floors = [
  ["smtp-recipients", 100, "RFC 5321 §4.5.3.1.8"],
  ["smtp-command-octets", 512, "RFC 5321 §4.5.3.1.4"],
  ["smtp-command-time", 300, "RFC 5321 §4.5.3.2.7"],
  ["pop3-command-octets", 255, "RFC 2449 §4"],
  ["pop3-idle-time", 600, "RFC 1939 §3"],
] as const;

test.each(floors)("%s may be %i and not less: %s", async (name, least, rfc) => {
  const at = (value: number) => loadNodeConfig({ addr, limit: [`${name}=${value}`] });
  await at(least);
  await expect(at(least - 1)).rejects.toThrow(new RegExp(`must give ${name} .*${rfc}`));
});

test("a list of entries may name the member itself", async () => {
  const config = await loadNodeConfig({ addr: ["B:1"], entry: ["a:1,b:1,c:1"] });
  expect(config.entries).toEqual(["a:1", "c:1"]);
});

test("an IPv6 member", async () => {
  const config = await loadNodeConfig({ addr: ["[::1]:5000"] });
  expect(config.addr).toBe("[::1]:5000");
  expect(config.smtp).toEqual({ host: "::1", port: 5025 });
  expect(config.dataDir).toMatch(/data\/1_5000$/);
});

test.each([
  ["7", 3, 7n],
  ["0x7", 3, 7n],
  ["0", 1, 0n],
  [`0x${"f".repeat(40)}`, 160, (1n << 160n) - 1n],
])("--id %s --bits %i", async (id, bits, value) => {
  expect((await loadNodeConfig({ addr, id: [id], bits: [String(bits)] })).id).toBe(value);
});

test.each([
  ["65536", 65_536],
  ["64k", 65_536],
  ["10M", 10 * 1024 * 1024],
  ["1 GiB", 1024 * 1024 * 1024],
])("--max-message %s", async (size, octets) => {
  expect((await loadNodeConfig({ addr, "max-message": [size] })).messageOctetsMax).toBe(octets);
});

const badFlags: readonly (readonly [FlagTexts, string])[] = [
  [{}, "--addr is missing: give the host:port this member serves the ring on"],
  [{ addr: [""] }, '--addr "": must be host:port, for example 127.0.0.1:5000'],
  [{ addr: ["nonsense"] }, "--addr nonsense: must be host:port"],
  [{ addr: ["127.0.0.1"] }, "--addr 127.0.0.1: must be host:port"],
  [{ addr: [":5000"] }, "--addr :5000: must be host:port"],
  [{ addr: ["a b:1"] }, '"a b" is no host name and no IP address'],
  [{ addr: ["127.0.0.256:1"] }, '"127.0.0.256" is no host name and no IP address'],
  [{ addr: ["::1:5000"] }, "--addr ::1:5000: must be [::1:5000]:port"],
  [{ addr: ["a:0"] }, "--addr a:0: must have a port from 1 to 65535, not 0"],
  [{ addr: ["a:65536"] }, "must have a port from 1 to 65535, not 65536"],
  [{ addr: ["0.0.0.0:5000"] }, "must be an address that the other members can call"],
  [{ addr: ["[::]:5000"] }, "must be an address that the other members can call"],
  [{ addr: ["a:65500"] }, "for pop3 (65500 + 110 is over 65535); give --pop3 host:port"],
  [{ addr: ["a:65535"] }, "for smtp (65535 + 25 is over 65535); give --smtp host:port"],
  [{ addr, bits: ["0"] }, "--bits 0: must be a whole number from 1 to 160"],
  [{ addr, bits: ["161"] }, "--bits 161: must be a whole number from 1 to 160"],
  [{ addr, bits: ["3.5"] }, "--bits 3.5: must be a whole number from 1 to 160"],
  [{ addr, bits: ["1e2"] }, "--bits 1e2: must be a whole number"],
  [{ addr, id: ["8"], bits: ["3"] }, "--id 8: must be from 0 to 7 with --bits 3"],
  [{ addr, id: ["-1"] }, "--id -1: must be a decimal number or 0x and hex digits"],
  [{ addr, id: ["two"] }, "--id two: must be a decimal number or 0x and hex digits"],
  [{ addr, id: ["9".repeat(65)] }, "must be a decimal number or 0x and hex digits"],
  [{ addr, replicas: ["-1"] }, "--replicas -1: must be a whole number from 0 to 16"],
  [{ addr, entry: ["b:1,,c:2"] }, "--entry b:1,,c:2: must be host:port"],
  [{ addr, entry: ["127.0.0.1:5000"] }, "names only this member itself"],
  [{ addr, data: [""] }, '--data "": must be a path, not empty'],
  [{ addr, domain: ["ring test"] }, "--domain ring test: must be a name of letters"],
  [{ addr, domain: ["räng.test"] }, "--domain räng.test: must be a name of letters"],
  [{ addr, limit: ["pop3-idle"] }, "--limit pop3-idle: must be name=value; see chord limits"],
  [
    { addr, limit: ["pop3-idle-tim=900"] },
    'there is no "pop3-idle-tim"; did you mean "pop3-idle-time"?',
  ],
  [{ addr, limit: ["__proto__=1"] }, 'there is no "__proto__"; see chord limits'],
  [
    { addr, limit: ["smtp-recipients=many"] },
    "must give smtp-recipients a whole number of recipients from 100 to",
  ],
  [{ addr, limit: ["pop3-errors=5K"] }, "must give pop3-errors a whole number of errors from 1 to"],
  [{ addr, limit: ["pop3-errors="] }, "--limit pop3-errors=: must give pop3-errors a whole number"],
  [
    { addr, limit: ["pop3-sasl-octets=2G"] },
    "must give pop3-sasl-octets octets, or a size as 64K, from 512",
  ],
  [{ addr, smtp: ["25"] }, "--smtp 25: must be host:port"],
  [{ addr, smtp: ["127.0.0.1:5000"] }, "--addr and --smtp are both 127.0.0.1:5000"],
  [{ addr, smtp: ["a:1"], pop3: ["a:1"] }, "--smtp and --pop3 are both a:1"],
  [{ addr, "evict-after": ["0"] }, "--evict-after 0: must be a whole number of seconds from 1"],
  [{ addr, "max-message": ["1K"] }, "--max-message 1K: must be a size from 64K to 1G"],
  [{ addr, "max-message": ["2G"] }, "--max-message 2G: must be a size from 64K to 1G"],
  [{ addr, "max-message": ["big"] }, "--max-message big: must be a size from 64K to 1G"],
  [{ addr, "log-level": ["loud"] }, "--log-level loud: must be one of silent, fatal, error"],
];

describe("options that can't be used", () => {
  test.each(badFlags)("%j", async (flags, message) => {
    const failure = await loadNodeConfig(flags).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      name: "ConfigError",
      message: expect.stringContaining(message),
    });
    expect((failure as Error).message).not.toContain("\n");
  });

  test("in the file: its name, the line and the key", async () => {
    const confPath = confFile('{\n "addr": "a:1",\n "bits": 200 }');
    const message = `${confPath}:3: "bits" 200: must be a whole number from 1 to 160`;
    await expect(loadNodeConfig({}, { confPath })).rejects.toThrow(message);
  });

  test("an id in the file that the --bits of the command line has no room for", async () => {
    const confPath = confFile('{ "addr": "a:1", "id": 9 }');
    const message = `${confPath}:1: "id" 9: must be from 0 to 7 with --bits 3`;
    await expect(loadNodeConfig({ bits: ["3"] }, { confPath })).rejects.toThrow(message);
  });
});

describe("conf/chord.jsonc", () => {
  const example = resolve(import.meta.dirname, "../../conf/chord.jsonc");

  test("is what a member runs with by default", async () => {
    const config = await loadNodeConfig({}, { confPath: example });
    expect(config).toEqual(await loadNodeConfig({ addr }));
  });

  test("explains every option", () => {
    const text = readFileSync(example, "utf8");
    for (const key of fileKeys) expect(text).toContain(`"${key}": `);
  });
});
