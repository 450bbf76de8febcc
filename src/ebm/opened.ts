/** One packet lies in many queues: who reads several of them opens it once. */
import type { Packet, PacketMemory } from "./packet.js";

/** Octets of packets as they came. What they were made into takes about as much again. */
const octetsMax = 4 * 1024 * 1024;

interface Opened {
  readonly packet: Packet;
  readonly octets: number;
}

/** The newest packets, by what was signed and its signature. Their frames are read by several. */
export class OpenedPackets implements PacketMemory {
  readonly #packets = new Map<string, Opened>();
  #octets = 0;

  find(key: string): Packet | undefined {
    return this.#packets.get(key)?.packet;
  }

  keep(key: string, packet: Packet, octets: number): void {
    if (octets > octetsMax || this.#packets.has(key)) return;
    this.#packets.set(key, { packet, octets });
    this.#octets += octets;
    for (const [oldest, { octets: gone }] of this.#packets) {
      if (this.#octets <= octetsMax) return;
      this.#packets.delete(oldest);
      this.#octets -= gone;
    }
  }
}
