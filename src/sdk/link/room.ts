/** What the outbox has room for. */
import { ebmBounds, type UserId } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import type { JournalState } from "../journal/state.js";
import type { LinkOptions } from "./ports.js";

/** @throws RingpostError `full`; `malformed` for a stream that is none */
export function checkRoom(
  state: JournalState,
  options: Required<LinkOptions>,
  message: { readonly to: UserId; readonly stream: string; readonly octets: number },
): void {
  const { to, stream, octets } = message;
  const { messageOctetsMax, streamsMax } = ebmBounds;
  if (octets > messageOctetsMax) {
    const why = `a message of ${octets} octets: more than ${messageOctetsMax}`;
    throw new RingpostError("full", why, false);
  }
  if (!/^[\x21-\x7e]{1,100}$/.test(stream) || stream === "__proto__") {
    throw new RingpostError("malformed", "a stream is 1 to 100 visible ASCII characters", false);
  }
  const { out, outboxOctets } = state;
  if (outboxOctets + octets > options.outboxOctetsMax) {
    throw new RingpostError("full", "the outbox is full until more is delivered", true);
  }
  const streams = out.get(to);
  if (streams && !streams.has(stream) && streams.size >= streamsMax) {
    throw new RingpostError("full", `more than ${streamsMax} streams to ${to}`, false);
  }
}
