import type { MessageId } from "../shared/ids.js";
import type { Clock, Randomness } from "./ports.js";

/**
 * Makes message ids: UUIDv7 (RFC 9562 §5.7), so that mails sort by arrival. Within one
 * millisecond, and when the clock goes back, the sequence goes on from the last (§6.2, method 1:
 * 12 bits counter after the time).
 */
export function messageIdMaker(clock: Clock, random: Randomness): () => MessageId {
  let lastMs = 0;
  let counter = 0;
  return () => {
    const nowMs = clock.wallMs();
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
