/** What an application is told of a dead letter: with the message, where it was received whole. */
import { messageOf } from "../consume/message.js";
import type { Events } from "../events.js";
import type { DeadLetter } from "../link/ports.js";

/** Never rejects. */
export async function tellDeadLetter(events: Events, letter: DeadLetter): Promise<void> {
  const { id, why, properties, stream, sequence, user } = letter;
  if (letter.direction === "out" || !properties || stream === undefined) {
    return events.emit("deadLetter", { id, why });
  }
  const origin = { user, device: "", epoch: 0 };
  const inbound = { id, origin, stream, sequence: sequence ?? 0, properties, octets: 0 };
  try {
    const message = await messageOf({ ...inbound, redelivered: 0, body: () => letter.body() });
    events.emit("deadLetter", { id, why, message });
  } catch {
    events.emit("deadLetter", { id, why });
  }
}
