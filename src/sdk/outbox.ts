/** From what an application sends to what the link takes. */
import type { MessageProperties } from "../ebm/index.js";
import type { Body, Receipt, SendOptions } from "./api.js";
import { checkSending } from "./checks.js";
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
  checkSending(options);
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
      ...(ttlMs === undefined ? {} : { expiresAtMs: Math.ceil(nowMs + ttlMs) }),
      ...(delayMs === undefined ? {} : { deliverAtMs: Math.ceil(nowMs + delayMs) }),
      ...(priority === undefined ? {} : { priority }),
    },
  });
}

function encodeBody(body: Body): { bytes: Buffer; contentType: string } {
  if (typeof body === "string") {
    return { bytes: Buffer.from(body, "utf8"), contentType: "text/plain; charset=utf-8" };
  }
  // As JSON these would be `{}`.
  if (body instanceof ArrayBuffer) return encodeBody(new Uint8Array(body));
  if (ArrayBuffer.isView(body)) {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return { bytes, contentType: "application/octet-stream" };
  }
  return { bytes: Buffer.from(jsonOf(body), "utf8"), contentType: "application/json" };
}

/** @throws RingpostError `malformed`: it refers to itself, has a BigInt, or is nothing that JSON has */
function jsonOf(body: object): string {
  let json: string | undefined;
  let cause: unknown;
  try {
    json = JSON.stringify(body) as string | undefined;
  } catch (error) {
    cause = error;
  }
  if (json !== undefined) return json;
  const [why = ""] = cause instanceof Error ? cause.message.split("\n") : [];
  const text = `the body is no JSON value${why === "" ? "" : `: ${why}`}`;
  throw new RingpostError("malformed", text, false, { cause });
}
