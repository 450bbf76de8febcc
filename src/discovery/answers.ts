/** Who is answered, and how often: a pure function of datagrams and the time. */
import { type FoundMember, discoveryPort, readQuestion, writeAnswer } from "./message.js";

export interface Asker {
  readonly address: string;
  readonly port: number;
}

export interface AnswerLimits {
  /** Answers a second to all, and to one address. */
  readonly perSecond: number;
  readonly perAddressPerSecond: number;
}

export const answerLimits: AnswerLimits = { perSecond: 100, perAddressPerSecond: 10 };

export interface Answerer {
  /** The answer to a datagram; undefined: silence. */
  answer(datagram: Uint8Array, from: Asker, nowMs: number): Buffer | undefined;
}

/** Datagrams that are looked at in a second: a flood is not worth parsing. */
const readPerSecond = 2_000;
/** Services of the system answer from below: a forged question must not start a talk with them. */
const askerPortMin = 1_024;

export function createAnswerer(
  self: FoundMember,
  isNeighbour: (address: string) => boolean,
  limits: AnswerLimits = answerLimits,
): Answerer {
  let second = 0;
  let answered = 0;
  let read = 0;
  // Of one second, so never more than `perSecond` addresses.
  const byAddress = new Map<string, number>();

  function startOfSecond(nowMs: number): void {
    const now = Math.floor(nowMs / 1_000);
    if (now === second) return;
    second = now;
    answered = 0;
    read = 0;
    byAddress.clear();
  }

  function hasTurn(address: string): boolean {
    const own = byAddress.get(address) ?? 0;
    if (answered >= limits.perSecond || own >= limits.perAddressPerSecond) return false;
    answered += 1;
    byAddress.set(address, own + 1);
    return true;
  }

  return {
    answer(datagram, { address, port }, nowMs) {
      if (port < askerPortMin || port === discoveryPort || !isNeighbour(address)) return undefined;
      startOfSecond(nowMs);
      if ((read += 1) > readPerSecond) return undefined;
      const question = readQuestion(datagram);
      if (question === undefined) return undefined;
      if (question.domain !== undefined && question.domain !== self.domain) return undefined;
      return hasTurn(address) ? writeAnswer(question.nonce, self) : undefined;
    },
  };
}
