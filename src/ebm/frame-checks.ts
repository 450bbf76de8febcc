/** What a frame of each kind has to look like. */
import { ebmBounds } from "./bounds.js";
import type { Frame } from "./frame.js";
import type { Origin } from "./message.js";
import { type Fields, isObject, isWhole } from "./shapes.js";

const isShort = (value: unknown): boolean => typeof value === "string" && value.length <= 256;
const isName = (value: unknown): boolean =>
  typeof value === "string" && /^[\x21-\x7e]{1,128}$/.test(value);
const isRange = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every(isWhole) &&
  Number(value[0]) <= Number(value[1]);
const isDead = (value: unknown): boolean =>
  Array.isArray(value) &&
  isName(value[0]) &&
  isWhole(value[1]) &&
  (value[2] === undefined || (isWhole(value[2]) && Number(value[1]) <= Number(value[2])));
const isCounters = (value: unknown): boolean =>
  isObject(value) &&
  Object.keys(value).length <= ebmBounds.streamsMax &&
  Object.values(value).every(isWhole);

const isOrigin = (value: unknown): value is Origin =>
  isObject(value) && isName(value["user"]) && isName(value["device"]) && isWhole(value["epoch"]);

const isProperties = (value: unknown): boolean => {
  if (!isObject(value)) return false;
  const { exchange, routingKey, headers, contentType, kind, correlationId, priority } = value;
  const { sentAtMs, expiresAtMs, deliverAtMs } = value;
  return (
    [exchange, routingKey, contentType, kind, correlationId].every(
      (text) => text === undefined || isShort(text),
    ) &&
    [expiresAtMs, deliverAtMs].every((time) => time === undefined || isWhole(time)) &&
    isWhole(sentAtMs) &&
    (priority === undefined || (isWhole(priority) && priority <= 9)) &&
    (headers === undefined || isHeaders(headers))
  );
};

const isHeaders = (value: unknown): boolean =>
  isObject(value) &&
  Object.keys(value).length <= 64 &&
  Object.entries(value).every(
    ([key, each]) =>
      key.length <= 128 &&
      (["number", "boolean"].includes(typeof each) ||
        (typeof each === "string" && each.length <= 1_024)),
  );

/** By kind: what must hold of a frame before anything is done with it. */
export const isWellFormed: Readonly<Record<Frame["kind"], (fields: Fields) => boolean>> = {
  data: ({ stream, sequence, id, offset, size, digest, properties, origin, ...more }) =>
    isName(stream) &&
    isWhole(sequence) &&
    sequence > 0 &&
    isName(id) &&
    isWhole(offset) &&
    isWhole(size) &&
    size <= ebmBounds.messageOctetsMax &&
    (digest === undefined || isShort(digest)) &&
    (properties === undefined || isProperties(properties)) &&
    (origin === undefined || isOrigin(origin)) &&
    [more["redelivered"], more["base"]].every((each) => each === undefined || isWhole(each)) &&
    (more["entry"] === undefined || isName(more["entry"])) &&
    (more["void"] === undefined || typeof more["void"] === "boolean"),
  ack: ({ connection, cumulative, ranges, windowOctets, pollMs, consumed, dead }) =>
    isName(connection) &&
    isWhole(cumulative) &&
    Array.isArray(ranges) &&
    ranges.length <= ebmBounds.ackRangesMax &&
    ranges.every(isRange) &&
    isWhole(windowOctets) &&
    isWhole(pollMs) &&
    isCounters(consumed) &&
    (dead === undefined ||
      (Array.isArray(dead) && dead.length <= ebmBounds.framesMax && dead.every(isDead))),
  nack: ({ connection, packet, why, expected }) =>
    isName(connection) &&
    isWhole(packet) &&
    isShort(why) &&
    (expected === undefined || isCounters(expected)),
  window: ({ connection, windowOctets }) => isName(connection) && isWhole(windowOctets),
  resume: ({ connection, epoch }) => isName(connection) && isWhole(epoch),
  configuration: ({ id, body }) => isName(id) && isObject(body),
};
