/** A settlement as it is asked for, checked. */
import type { EntryTime } from "../../replication/peer-methods.js";
import type { MessageId } from "../../shared/ids.js";
import type { Broker } from "../ports.js";
import { brokerLimits } from "./limits.js";

const isEntry = (id: string): id is MessageId => /^[0-9a-f]{32}$/.test(id);

export function settlementOf(ask: Parameters<Broker["operations"]["settle"]>[0]):
  | {
      readonly ack: readonly MessageId[];
      readonly reject: readonly MessageId[];
      readonly nack: readonly EntryTime[];
      readonly extend: readonly EntryTime[];
    }
  | undefined {
  const { ack = [], reject = [], nack = [], extend = [] } = ask;
  const times = [...nack.map(({ entry, delayMs }) => ({ entry, ms: delayMs })), ...extend];
  const all = [...ack, ...reject, ...times.map(({ entry }) => entry)];
  if (all.length > brokerLimits.settledMax || !all.every(isEntry)) return undefined;
  if (!times.every(({ ms }) => Number.isFinite(ms) && ms >= 0)) return undefined;
  const timed = (entry: string, ms: number): EntryTime => ({
    entry: entry as MessageId,
    ms: Math.min(Math.floor(ms), brokerLimits.delayMsMax),
  });
  return {
    ack: ack.filter(isEntry),
    reject: reject.filter(isEntry),
    nack: nack.map(({ entry, delayMs }) => timed(entry, delayMs)),
    extend: extend.map(({ entry, ms }) => timed(entry, ms)),
  };
}
