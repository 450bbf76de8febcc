/** Settlements as they are asked for: checked, and of several queues side by side. */
import type { Settlement } from "../../ebm/index.js";
import type { EntryTime } from "../../replication/peer-methods.js";
import type { Clock } from "../../replication/ports.js";
import type { MessageId } from "../../shared/ids.js";
import { inParallel } from "./durable.js";
import { brokerLimits } from "./limits.js";

const isEntry = (id: string): id is MessageId => /^[0-9a-f]{32}$/.test(id);

export function settlementOf(ask: Settlement):
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

/**
 * Which of them are done. A queue without a majority takes seconds to fail, and nobody is to wait for that with an
 * outcome of another one: what is not done by then goes on, and what has not begun does not.
 */
export async function settleEach(
  settlements: readonly Settlement[],
  clock: Pick<Clock, "sleep">,
  settle: (settlement: Settlement) => Promise<boolean>,
): Promise<readonly boolean[]> {
  const done = settlements.map(() => false);
  const over = new AbortController();
  const late = clock.sleep(brokerLimits.settledMs, over.signal).catch(() => undefined);
  const { settledAtATime } = brokerLimits;
  const all = inParallel([...settlements.entries()], settledAtATime, async ([index, each]) => {
    if (!over.signal.aborted) done[index] = await settle(each).catch(() => false);
  });
  await Promise.race([all, late]);
  over.abort();
  return [...done];
}
