/** Which members `chord up` runs: their ports, ids and directories. Pure. */
import { join } from "node:path";
import {
  defaults,
  type Parsed,
  parseName,
  parsePath,
  parseWhole,
  portMax,
} from "../config/index.js";
import { usageError } from "./errors.js";

export interface UpOptions {
  readonly nodes: string;
  readonly data: string;
  readonly port: string;
  readonly bits: string;
  readonly replicas: string;
  readonly domain: string;
}

export interface PlannedMember {
  /** From 1, for people. */
  readonly number: number;
  readonly addr: string;
  readonly ports: {
    readonly ring: number;
    readonly smtp: number;
    readonly pop3: number;
    readonly pop3s: number;
  };
  readonly dataDir: string;
  readonly logFile: string;
  /** What follows `chord`, without `--entry`. */
  readonly args: readonly string[];
}

export interface UpPlan {
  readonly dataDir: string;
  readonly domain: string;
  readonly port: number;
  readonly members: readonly PlannedMember[];
}

const host = "127.0.0.1";
/** The ring ports of more would reach the SMTP ports of the first. */
const nodesMax = defaults.smtpPortOffset;

/** @throws CliError naming the option that can't be used */
export function planUp(options: UpOptions): UpPlan {
  const nodes = read("nodes", options.nodes, (text) => parseWhole(text, { min: 1, max: nodesMax }));
  const highest = portMax - defaults.pop3sPortOffset - (nodes - 1);
  const port = read("port", options.port, (text) => parseWhole(text, { min: 1, max: highest }));
  const bits = read("bits", options.bits, (text) => parseWhole(text, { min: 1, max: 160 }));
  const dataDir = read("data", options.data, parsePath);
  const domain = read("domain", options.domain, parseName);
  const replicas = read("replicas", options.replicas, (text) =>
    parseWhole(text, { min: 0, max: 16 }),
  );
  if (2 ** bits < nodes) {
    throw usageError(`--bits ${bits}: has only ${2 ** bits} ids, too few for ${nodes} members`);
  }
  const shared = [
    "--bits",
    String(bits),
    "--replicas",
    String(replicas),
    "--domain",
    domain,
    "--trial",
    "on",
    // On loopback: programs on this machine find the ring by themselves.
    "--discovery",
    "on",
    "--registration",
    "open",
  ];
  const members = Array.from({ length: nodes }, (_, index) =>
    planMember({ index, ringPort: port + index, bits, dataDir, shared }),
  );
  return { dataDir, domain, port, members };
}

interface MemberPlace {
  readonly index: number;
  readonly ringPort: number;
  readonly bits: number;
  readonly dataDir: string;
  readonly shared: readonly string[];
}

function planMember({ index, ringPort, bits, dataDir, shared }: MemberPlace): PlannedMember {
  const number = index + 1;
  const addr = `${host}:${ringPort}`;
  const own = join(dataDir, `node-${number}`);
  const id = String(evenId(index, bits));
  return {
    number,
    addr,
    ports: {
      ring: ringPort,
      smtp: ringPort + defaults.smtpPortOffset,
      pop3: ringPort + defaults.pop3PortOffset,
      pop3s: ringPort + defaults.pop3sPortOffset,
    },
    dataDir: own,
    logFile: `${own}.log`,
    args: ["--id", id, "--addr", addr, ...shared, "--data", own],
  };
}

/**
 * The index's bits in reverse, as the highest bits of the id: 0, 1/2, 1/4, 3/4, … of the circle.
 * Spread evenly, without duplicates even on a small circle, and the same whatever `--nodes` is.
 */
export function evenId(index: number, bits: number): bigint {
  let id = 0n;
  for (let bit = 0; index >> bit > 0; bit += 1) {
    if (((index >> bit) & 1) === 1) id += 1n << BigInt(bits - 1 - bit);
  }
  return id;
}

function read<T>(key: keyof UpOptions, text: string, parse: (text: string) => Parsed<T>): T {
  const parsed = parse(text);
  if (parsed.ok) return parsed.value;
  throw usageError(`--${key} ${text === "" ? '""' : text}: must ${parsed.why}`);
}
