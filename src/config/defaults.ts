/** What an option is when nobody gives it. */
import { limits } from "../shared/limits.js";

export const bitsMax = 160;

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
