/** RFC 9562 §5.7: milliseconds, then chance; `random` are 10 octets. */
export function uuidv7(nowMs: number, random: Buffer): string {
  const octets = Buffer.alloc(16);
  octets.writeUIntBE(nowMs, 0, 6);
  random.copy(octets, 6, 0, 10);
  octets[6] = ((octets[6] ?? 0) & 0x0f) | 0x70;
  octets[8] = ((octets[8] ?? 0) & 0x3f) | 0x80;
  const hex = octets.toString("hex");
  const at = (from: number, to: number): string => hex.slice(from, to);
  return `${at(0, 8)}-${at(8, 12)}-${at(12, 16)}-${at(16, 20)}-${at(20, 32)}`;
}
