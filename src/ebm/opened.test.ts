import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import type { DataFrame } from "./frame.js";
import { OpenedPackets } from "./opened.js";
import { openPacket, sealPacket } from "./packet.js";

const { privateKey } = generateKeyPairSync("ed25519");
const frame = (octets: Buffer): DataFrame => ({
  ...{ kind: "data", stream: "main", sequence: 1, id: "m1", offset: 0, size: octets.length },
  ...{ octets, properties: { sentAtMs: 1 } },
});

function sealed(to: string): Buffer {
  const from = { user: "ring@ring.test", device: "k1", epoch: 0 };
  const header = { connection: "c", packet: 1, from, to, expiresAtMs: 1_000 };
  return sealPacket({ header, frames: [frame(Buffer.from("hello"))], privateKey });
}

function withOctetChanged(octets: Buffer, at: number): Buffer {
  const changed = Buffer.from(octets);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}

test("a packet of many queues is opened once, another one of its own", () => {
  const opened = new OpenedPackets();
  const octets = sealed("queue:*");
  const first = openPacket(octets, 0, opened);
  expect(openPacket(Buffer.from(octets), 0, opened)).toBe(first);
  expect(openPacket(octets, 0)).toEqual(first);
  const own = sealed("queue:mine");
  expect(openPacket(own, 0, opened)).not.toBe(openPacket(own, 0, opened));
});

test("what is known helps no packet that is not the same to its last octet, nor one that has expired", () => {
  const opened = new OpenedPackets();
  const octets = sealed("queue:*");
  openPacket(octets, 0, opened);
  for (let at = 0; at < octets.length; at += 1) {
    expect(() => openPacket(withOctetChanged(octets, at), 0, opened), `octet ${at}`).toThrow();
  }
  expect(() => openPacket(octets, 1_001, opened)).toThrow("the packet has expired");
});

test("remembers no more than it has room for", () => {
  const opened = new OpenedPackets();
  const packet = openPacket(sealed("queue:*"), 0);
  for (let n = 0; n < 8; n += 1) opened.keep(`${n}`, packet, 1024 * 1024);
  expect(opened.find("3")).toBeUndefined();
  expect(opened.find("4")).toBe(packet);
  opened.keep("huge", packet, 5 * 1024 * 1024);
  expect(opened.find("huge")).toBeUndefined();
  expect(opened.find("4")).toBe(packet);
});
