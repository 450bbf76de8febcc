/** From what an application sends to what the link takes. */
import type { MessageProperties } from "../ebm/index.js";
import type { Body, Receipt, SendOptions } from "./api.js";
import { RingpostError } from "./errors.js";
import type { Link } from "./link/ports.js";
import { reasonOf } from "./waiting.js";

type Extra = Pick<MessageProperties, "exchange" | "routingKey" | "kind" | "correlationId">;

export interface OutboxMessage {
  readonly to: string;
  readonly body: Body;
  readonly options?: SendOptions | undefined;
  readonly extra?: Extra;
}

/** Resolves when it is in the journal. */
export async function sendMessage(
  link: Link,
  { to, body, options = {}, extra = {} }: OutboxMessage,
): Promise<Receipt> {
  const { stream = "main", headers, ttlMs, priority, delayMs, signal } = options;
  if (signal?.aborted === true) throw reasonOf(signal);
  const { bytes, contentType } = encodeBody(body);
  const nowMs = Date.now();
  return await link.send({
    to,
    stream,
    body: bytes,
    properties: {
      ...extra,
      contentType,
      sentAtMs: nowMs,
      ...(headers === undefined ? {} : { headers }),
      ...(ttlMs === undefined ? {} : { expiresAtMs: nowMs + ttlMs }),
      ...(delayMs === undefined ? {} : { deliverAtMs: nowMs + delayMs }),
      ...(priority === undefined ? {} : { priority }),
    },
  });
}

function encodeBody(body: Body): { bytes: Buffer; contentType: string } {
  if (typeof body === "string") {
    return { bytes: Buffer.from(body, "utf8"), contentType: "text/plain; charset=utf-8" };
  }
  if (body instanceof Uint8Array) {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return { bytes, contentType: "application/octet-stream" };
  }
  const json = JSON.stringify(body) as string | undefined;
  if (json === undefined) throw new RingpostError("malformed", "the body is no JSON value", false);
  return { bytes: Buffer.from(json, "utf8"), contentType: "application/json" };
}
