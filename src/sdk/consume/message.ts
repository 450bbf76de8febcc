/** What an application is handed. */
import type { Message } from "../api.js";
import type { InboundMessage } from "../link/ports.js";

/** `redelivered`: besides what the link counts. */
export async function messageOf(inbound: InboundMessage, redelivered = 0): Promise<Message> {
  const bytes = await inbound.body();
  const { id, origin, stream, sequence, properties } = inbound;
  const { exchange, routingKey, correlationId } = properties;
  const message: { -readonly [K in keyof Message]: Message[K] } = {
    id,
    from: origin.user,
    stream,
    sequence,
    // Properties are of all messages that say the same.
    headers: { ...properties.headers },
    contentType: properties.contentType ?? "application/octet-stream",
    sentAt: new Date(properties.sentAtMs),
    redelivered: inbound.redelivered + redelivered,
    bytes,
    text: () => bytes.toString("utf8"),
    json: () => JSON.parse(bytes.toString("utf8")) as unknown,
  };
  if (exchange !== undefined) message.exchange = exchange;
  if (routingKey !== undefined) message.routingKey = routingKey;
  if (correlationId !== undefined) message.correlationId = correlationId;
  return message;
}
