import type { MessageId } from "../shared/ids.js";
import type { Randomness } from "./ports.js";
import type { RingClock } from "./ring-clock.js";

/**
 * Makes message ids: UUIDv7 (RFC 9562 §5.7), so that mails sort by arrival. Within one
 * millisecond, and when the clock goes back, the sequence goes on from the last (§6.2, method 1:
 * 12 bits counter after the time).
 */
export function messageIdMaker(
  clock: Pick<RingClock, "nowMs">,
  random: Randomness,
): () => MessageId {
  let lastMs = 0;
  let counter = 0;
  return () => {
    const nowMs = clock.nowMs();
    if (nowMs > lastMs) {
      lastMs = nowMs;
      counter = 0;
    } else {
      counter += 1;
      if (counter > 0xfff) {
        lastMs += 1;
        counter = 0;
      }
    }
    const tail = random.bytes(8);
    tail[0] = ((tail[0] ?? 0) & 0x3f) | 0x80;
    const time = lastMs.toString(16).padStart(12, "0");
    return `${time}7${counter.toString(16).padStart(3, "0")}${tail.toString("hex")}` as MessageId;
  };
}

/** The ring's time when the id was made, in milliseconds. */
export const timeOf = (id: MessageId): number => Number.parseInt(id.slice(0, 12), 16);
