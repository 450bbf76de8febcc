/** Reads and writes of the protobuf wire format (protobuf.dev/programming-guides/encoding). */

const wireTypes = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const;

/** Bytes that are not what ringpost.proto says, or that break a bound. */
export class MalformedFrameError extends Error {
  override readonly name = "MalformedFrameError";
}

/** Octets of `value` as a varint; `value` is an unsigned integer below 2^32. */
export function varintOctets(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/** Octets of a length-delimited field with a one-octet tag. */
export function fieldOctets(contentOctets: number): number {
  return 1 + varintOctets(contentOctets) + contentOctets;
}

/** Writes into a buffer whose size was computed before. Field numbers are below 16. */
export class WireWriter {
  #at = 0;

  constructor(readonly buffer: Buffer) {}

  get writtenOctets(): number {
    return this.#at;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[this.#at++] = rest;
  }

  tag(field: number, wireType: number): void {
    this.buffer[this.#at++] = (field << 3) | wireType;
  }

  uint32(field: number, value: number): void {
    this.tag(field, wireTypes.varint);
    this.varint(value);
  }

  fixed32(field: number, value: number): void {
    this.tag(field, wireTypes.fixed32);
    this.#at = this.buffer.writeUInt32LE(value, this.#at);
  }

  double(field: number, value: number): void {
    this.tag(field, wireTypes.fixed64);
    this.#at = this.buffer.writeDoubleLE(value, this.#at);
  }

  bytes(field: number, value: Buffer): void {
    this.open(field, value.length);
    this.#at += value.copy(this.buffer, this.#at);
  }

  /** `octets` is the UTF-8 length of `value`, known from the computation of the size. */
  text(field: number, value: string, octets: number): void {
    this.open(field, octets);
    this.#at += this.buffer.write(value, this.#at, octets, "utf8");
  }

  /** Begins a length-delimited field; its content is written next. */
  open(field: number, octets: number): void {
    this.tag(field, wireTypes.lengthDelimited);
    this.varint(octets);
  }
}

/** Reads one message, `buffer[start, end)`. Throws MalformedFrameError, never reads outside. */
export class WireReader {
  field = 0;
  wireType = 0;

  constructor(
    readonly buffer: Buffer,
    private at: number,
    private readonly end: number,
  ) {}

  /** Steps to the next field; false at the end. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.varint();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0) throw new MalformedFrameError("field number 0");
    return true;
  }

  /** A varint of which the low 32 bits count, as protobuf truncates for uint32. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw new MalformedFrameError("varint cut short");
      const octet = this.buffer[this.at++] ?? 0;
      if (shift < 32) value |= (octet & 0x7f) << shift;
      if (octet < 0x80) return value >>> 0;
    }
    throw new MalformedFrameError("varint too long");
  }

  uint32(): number {
    this.expect(wireTypes.varint);
    return this.varint();
  }

  fixed32(): number {
    this.expect(wireTypes.fixed32);
    return this.buffer.readUInt32LE(this.take(4));
  }

  double(): number {
    this.expect(wireTypes.fixed64);
    return this.buffer.readDoubleLE(this.take(8));
  }

  /** A view into the frame, not a copy. */
  bytes(): Buffer {
    const octets = this.length();
    const start = this.take(octets);
    return this.buffer.subarray(start, start + octets);
  }

  text(): string {
    const octets = this.length();
    const start = this.take(octets);
    return this.buffer.toString("utf8", start, start + octets);
  }

  message(): WireReader {
    const octets = this.length();
    const start = this.take(octets);
    return new WireReader(this.buffer, start, start + octets);
  }

  /** Fields of a later version are passed over. */
  skip(): void {
    if (this.wireType === wireTypes.varint) this.varint();
    else if (this.wireType === wireTypes.fixed64) this.take(8);
    else if (this.wireType === wireTypes.fixed32) this.take(4);
    else this.take(this.length());
  }

  private length(): number {
    this.expect(wireTypes.lengthDelimited);
    return this.varint();
  }

  private expect(wireType: number): void {
    if (this.wireType !== wireType) throw new MalformedFrameError("wrong wire type");
  }

  private take(octets: number): number {
    const start = this.at;
    if (octets > this.end - start) throw new MalformedFrameError("field cut short");
    this.at = start + octets;
    return start;
  }
}
