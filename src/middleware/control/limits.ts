/** Every bound of the control address. */
import { ebmBounds } from "../../ebm/index.js";

export const controlLimits = {
  /** Of a mail to the control address, from who has not authenticated, and from who has. */
  strangerOctetsMax: 64 * 1024,
  userOctetsMax: 1024 * 1024,
  /**
   * Of data for the broker: reading it takes the event loop, and strangers can prove nothing before. A
   * packet of the usual size fits; a sender who is told 552 cuts smaller ones.
   */
  strangerBrokerOctetsMax: 8 * 1024 * 1024,
  brokerOctetsMax: ebmBounds.mailOctetsMax,
  /** Mails to the ring that are in memory at a time; others wait for their turn. */
  workingOctetsMax: 96 * 1024 * 1024,
  waitingMax: 1_000,
  /** How far ahead a question may expire: for so long its number is remembered at the least. */
  questionMsMax: 600_000,
  /** Between the clocks of a client and of the ring. */
  skewMs: 600_000,
  devicesMax: 16,
  /** Devices whose highest packet number is remembered. */
  numberedDevicesMax: 64,
  contactsMax: 1_000,
  contactsOctetsMax: 256 * 1024,
  readMarksMax: 10_000,
  /** Answers that wait in a user's `config`; the oldest make room, those of an hour first. */
  answersMax: 1_000,
  answersKept: 900,
  answerMs: 3_600_000,
  /** What is kept for the operator. */
  keptMessagesMax: 1_000,
  keptOctetsMax: 64 * 1024 * 1024,
  invitationsMax: 100,
} as const;

/** What may happen within a window, at one node: of one network (or address), and in all. */
export interface StrangerLimits {
  readonly windowMs: number;
  readonly perNetwork: number;
  readonly inAll: number;
}

/** Mails that prove nothing: wrong, not understood, or logins. */
export const unprovenLimits: StrangerLimits = {
  windowMs: 60_000,
  perNetwork: 300,
  inAll: 3_000,
};

/** New accounts: each costs a password hash, and room for ever. */
export const registrationLimits: StrangerLimits = {
  windowMs: 600_000,
  perNetwork: 200,
  inAll: 2_000,
};

/** Answers to one address elsewhere: whoever names somebody else's must not flood them by questions. */
export const elsewhereLimits: StrangerLimits = {
  windowMs: 60_000,
  perNetwork: 120,
  inAll: 6_000,
};

/** Lines in the log about replies that are late, and about those that say "not now". */
export const lineLimits: StrangerLimits = {
  windowMs: 60_000,
  perNetwork: 6,
  inAll: 120,
};
