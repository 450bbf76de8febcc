/** The asking end: every network of this machine is asked, and whoever answers in time is told. */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import {
  discoveryGroup,
  discoveryPort,
  type FoundMember,
  isEndpoint,
  readAnswer,
  writeQuestion,
} from "./message.js";
import { broadcastOf, isLoopbackHost, type Network, ownNetworks } from "./networks.js";

export interface DiscoverOptions {
  /** Only members of rings that serve this mail domain. */
  readonly domain?: string;
  /** How long answers are waited for. Default 1,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Of a flood of answers, the first are enough to choose from. */
const foundMax = 256;
/** Datagrams get lost: the question is asked again after these times. */
const askAtMs = [0, 150, 450] as const;

/**
 * Members of rings on the networks of this machine, each once, in the order of their answers.
 * Anybody on the LAN may answer, so what is told is a hint: whoever follows it still proves who
 * they are, and makes the other side prove it (join tokens, TLS, signatures). Empty when nobody
 * answers, or there is no network.
 */
export async function discover(options: DiscoverOptions = {}): Promise<readonly FoundMember[]> {
  const { domain, timeoutMs = 1_000, signal } = options;
  const nonce = randomBytes(16).toString("hex");
  const question = writeQuestion({ nonce, ...(domain !== undefined && { domain }) });
  const found = new Map<string, FoundMember>();
  const hear = (datagram: Buffer, network: Network): void => {
    const member = readAnswer(datagram, nonce);
    if (member === undefined || found.size >= foundMax) return;
    if (domain !== undefined && member.domain !== domain) return;
    // Somebody out there may not name a port of this machine.
    if (!network.isLoopback && endpointsOf(member).some(isOnLoopback)) return;
    if (!found.has(member.addr)) found.set(member.addr, member);
  };
  const asked = ownNetworks().map((network) => askNetwork(network, question, hear));
  await until(timeoutMs, signal);
  for (const end of asked) end();
  return [...found.values()];
}

function askNetwork(
  network: Network,
  question: Buffer,
  hear: (datagram: Buffer, network: Network) => void,
): () => void {
  const socket = createSocket("udp4");
  const timers: NodeJS.Timeout[] = [];
  let isOpen = true;
  const end = (): void => {
    for (const timer of timers) clearTimeout(timer);
    if (isOpen) socket.close();
    isOpen = false;
  };
  socket.on("message", (datagram) => hear(datagram, network));
  // An interface that just went down is a network where nobody answers.
  socket.on("error", end);
  socket.bind({ address: network.address, port: 0 }, () => {
    if (!isOpen) return;
    try {
      socket.setMulticastInterface(network.address);
      socket.setMulticastTTL(1);
      socket.setMulticastLoopback(true);
      socket.setBroadcast(true);
    } catch {
      return end();
    }
    const places = [discoveryGroup, broadcastOf(network)].filter((place) => place !== undefined);
    const ask = (): void => {
      for (const place of places) socket.send(question, discoveryPort, place, () => undefined);
    };
    for (const ms of askAtMs) timers.push(setTimeout(ask, ms));
  });
  return end;
}

const endpointsOf = (member: FoundMember): readonly string[] =>
  [member.addr, member.smtp, member.pop3, member.submission, member.submissions, member.pop3s]
    .filter((endpoint) => endpoint !== undefined)
    .filter(isEndpoint);

const isOnLoopback = (endpoint: string): boolean =>
  isLoopbackHost(endpoint.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""));

function until(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}
