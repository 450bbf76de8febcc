/**
 * What is asked and told on a LAN, one JSON object in a datagram. Nothing in it is secret, and
 * nothing in it is believed: who is told of a member still has to be let in by it.
 */
import { isIP } from "node:net";

/** Of our own, administratively scoped (RFC 2365 §6.1: 239.255.0.0/16 stays on the site). */
export const discoveryGroup = "239.255.82.80";
export const discoveryPort = 25_110;
/**
 * Every question is padded to this, and no answer is longer than its question: with a forged
 * sender, nobody is sent more than the forger has sent (as QUIC, RFC 9000 §8.1).
 */
export const datagramOctets = 1_200;

/** A member, as it tells of itself. */
export interface FoundMember {
  /** First half of the SHA-256 of the ring's CA certificate, in hex: tells two rings of one domain apart. */
  readonly ring: string;
  readonly domain: string;
  readonly bits: number;
  readonly replicas: number;
  /** Its ring port: what `--entry` takes. */
  readonly addr: string;
  readonly smtp: string;
  readonly pop3: string;
  readonly submission?: string;
  readonly submissions?: string;
  readonly pop3s?: string;
}

export interface Question {
  /** 16 octets in hex; the answer repeats it. */
  readonly nonce: string;
  /** Members of other domains keep silent. */
  readonly domain?: string;
}

const version = 1;
const nonceShape = /^[0-9a-f]{32}$/;
const ringShape = /^[0-9a-f]{32}$/;
const nameShape = /^[a-z0-9_](?:[a-z0-9._-]{0,252})$/;
const endpointShape = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253})):(\d{1,5})$/;

export const isEndpoint = (text: string): boolean => {
  const [, v6, name, port] = endpointShape.exec(text) ?? [];
  if (v6 !== undefined && isIP(v6) !== 6) return false;
  return (v6 ?? name) !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
};

export function writeQuestion({ nonce, domain }: Question): Buffer {
  const asked = {
    ringpost: version,
    ask: "members",
    nonce,
    ...(domain !== undefined && { domain }),
  };
  return Buffer.from(JSON.stringify(asked).padEnd(datagramOctets), "latin1");
}

/** Undefined for what is no question, or could be answered by more than it is. */
export function readQuestion(datagram: Uint8Array): Question | undefined {
  if (datagram.length !== datagramOctets) return undefined;
  const { ringpost, ask, nonce, domain } = fields(datagram);
  if (ringpost !== version || ask !== "members") return undefined;
  if (typeof nonce !== "string" || !nonceShape.test(nonce)) return undefined;
  if (domain === undefined) return { nonce };
  return typeof domain === "string" && nameShape.test(domain) ? { nonce, domain } : undefined;
}

/** At most as long as a question; undefined when the names are too long for that. */
export function writeAnswer(nonce: string, member: FoundMember): Buffer | undefined {
  const datagram = Buffer.from(JSON.stringify({ ringpost: version, nonce, ...member }));
  return datagram.length <= datagramOctets ? datagram : undefined;
}

const optionalPorts = ["submission", "submissions", "pop3s"] as const;

/** Undefined for what does not answer this question. */
export function readAnswer(datagram: Uint8Array, nonce: string): FoundMember | undefined {
  if (datagram.length > datagramOctets) return undefined;
  const answer = fields(datagram);
  if (answer["ringpost"] !== version || answer["nonce"] !== nonce) return undefined;
  const text = (key: string, isRight: (value: string) => boolean): string | undefined => {
    const value = answer[key];
    return typeof value === "string" && isRight(value) ? value : undefined;
  };
  const whole = (key: string, max: number): number | undefined => {
    const value = answer[key];
    return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= max
      ? Number(value)
      : undefined;
  };
  const ring = text("ring", (value) => ringShape.test(value));
  const domain = text("domain", (value) => nameShape.test(value));
  const [bits, replicas] = [whole("bits", 160), whole("replicas", 16)];
  const [addr, smtp, pop3] = ["addr", "smtp", "pop3"].map((key) => text(key, isEndpoint));
  if (ring === undefined || domain === undefined) return undefined;
  if (bits === undefined || replicas === undefined) return undefined;
  if (addr === undefined || smtp === undefined || pop3 === undefined) return undefined;
  const optional: { [K in (typeof optionalPorts)[number]]?: string } = {};
  for (const key of optionalPorts) {
    const value = text(key, isEndpoint);
    if (value !== undefined) optional[key] = value;
  }
  return { ring, domain, bits, replicas, addr, smtp, pop3, ...optional };
}

function fields(datagram: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(datagram).toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
