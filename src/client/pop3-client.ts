import type { ConnectionOptions } from "node:tls";
import { ProtocolError, Wire, type WireOptions } from "./wire.js";

export interface Pop3Reply {
  readonly ok: boolean;
  /** The status line as received, without CRLF. */
  readonly line: string;
}

export interface FetchedMail {
  readonly uid: string;
  readonly bytes: Buffer;
}

/** A refusal where success was expected; `line` is the `-ERR …`. */
export class Pop3Refused extends Error {
  override readonly name = "Pop3Refused";
  constructor(
    readonly command: string,
    readonly line: string,
  ) {
    super(`${command}: ${line}`);
  }
}

/** A small strict POP3 client (RFC 1939), with STLS, TLS from the first octet, and tokens. */
export class Pop3Client {
  private constructor(
    readonly wire: Wire,
    readonly greeting: string,
  ) {}

  /** `options.tls`: TLS from the first octet, as on port 995. */
  static async connect(addr: string, options?: number | WireOptions): Promise<Pop3Client> {
    const wire = await Wire.connect(addr, options);
    try {
      const greeting = await readStatus(wire);
      if (!greeting.ok) throw new Pop3Refused("greeting", greeting.line);
      return new Pop3Client(wire, greeting.line);
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  /** Connects and logs in. @throws Pop3Refused */
  static async login(
    addr: string,
    user: string,
    password: string,
    deadlineMs?: number,
  ): Promise<Pop3Client> {
    const client = await Pop3Client.connect(addr, deadlineMs);
    try {
      await client.password(user, password);
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  /** USER and PASS. @throws Pop3Refused */
  async password(user: string, password: string): Promise<void> {
    await this.expect(`USER ${utf8(user)}`);
    await this.expect(`PASS ${utf8(password)}`);
  }

  /** AUTH OAUTHBEARER (RFC 7628 §3.1): `user` opens a maildrop by a token. @throws Pop3Refused */
  async bearer(user: string, token: string): Promise<void> {
    const name = user.replaceAll("=", "=3D").replaceAll(",", "=2C");
    const message = `n,a=${name},\x01auth=Bearer ${token}\x01\x01`;
    // RFC 5034 §4: an initial response must fit a command line, which a token does not.
    let line = await this.#exchange("AUTH OAUTHBEARER");
    if (isChallenge(line)) line = await this.#exchange(Buffer.from(message).toString("base64"));
    // RFC 7628 §3.2.3: an error is answered with a dummy, then comes the refusal.
    if (isChallenge(line)) line = await this.#exchange("AQ==");
    if (!/^\+OK( |$)/.test(line)) throw new Pop3Refused("AUTH", line);
  }

  async #exchange(line: string): Promise<string> {
    this.wire.write(`${line}\r\n`);
    return await this.wire.line();
  }

  /** CAPA's lines; none where the server does not know the command (RFC 2449 §5). */
  async capabilities(): Promise<readonly string[]> {
    const reply = await this.command("CAPA");
    if (!reply.ok) return [];
    return (await this.wire.dotted()).toString("latin1").split("\r\n").slice(0, -1);
  }

  /** STLS, RFC 2595 §4. @throws Pop3Refused, WireError for a certificate that is not accepted */
  async startTls(options: ConnectionOptions): Promise<void> {
    await this.expect("STLS");
    await this.wire.secure(options);
  }

  async command(line: string): Promise<Pop3Reply> {
    this.wire.write(`${line}\r\n`);
    return await readStatus(this.wire);
  }

  async expect(line: string): Promise<string> {
    const reply = await this.command(line);
    if (!reply.ok) throw new Pop3Refused(line.replace(/^PASS .*/, "PASS"), reply.line);
    return reply.line;
  }

  /** A command with a multi-line answer, byte-stuffing undone. */
  async multiline(line: string): Promise<Buffer> {
    await this.expect(line);
    return await this.wire.dotted();
  }

  async stat(): Promise<{ messages: number; octets: number }> {
    const match = /^\+OK (\d+) (\d+)/.exec(await this.expect("STAT"));
    if (match === null) throw new ProtocolError("STAT without a drop listing");
    return { messages: Number(match[1]), octets: Number(match[2]) };
  }

  /** Pairs of message number and octets. */
  async list(): Promise<readonly (readonly [number: number, octets: number])[]> {
    return pairs(await this.multiline("LIST")).map(([n, octets]) => [Number(n), Number(octets)]);
  }

  async uidl(): Promise<readonly string[]> {
    return pairs(await this.multiline("UIDL")).map(([, uid]) => uid);
  }

  retr(number: number): Promise<Buffer> {
    return this.multiline(`RETR ${number}`);
  }

  /** Every mail, checked against LIST (octets, RFC 1939 §11) and UIDL. */
  all(options: { readonly pipelined?: boolean } = {}): Promise<FetchedMail[]> {
    return this.some(() => true, options);
  }

  /** As `all`, of the mails that `wanted` picks by their index, counted from 0. */
  async some(
    wanted: (index: number, messages: number) => boolean,
    options: { readonly pipelined?: boolean } = {},
  ): Promise<FetchedMail[]> {
    const listed = await this.list();
    const uids = await this.uidl();
    if (uids.length !== listed.length) throw new ProtocolError("LIST and UIDL differ");
    const list = listed.filter((_, index) => wanted(index, listed.length));
    if (options.pipelined === true) {
      this.wire.write(list.map(([number]) => `RETR ${number}\r\n`).join(""));
    }
    const mails: FetchedMail[] = [];
    for (const [number, octets] of list) {
      const bytes =
        options.pipelined === true
          ? await this.#pipelinedMultiline(`RETR ${number}`)
          : await this.retr(number);
      if (bytes.length !== octets) {
        throw new ProtocolError(`LIST says ${octets} octets, RETR ${number} gave ${bytes.length}`);
      }
      mails.push({ uid: uids[number - 1] ?? "", bytes });
    }
    return mails;
  }

  /**
   * RETR of each, in one write; each as soon as it is whole, so that a line that is cut costs only what was not.
   * Bounding their sum is the caller's, and so is to take them all: the rest would answer the next command.
   */
  async *retrEach(numbers: readonly number[]): AsyncGenerator<Buffer, void> {
    if (numbers.length === 0) return;
    this.wire.write(numbers.map((number) => `RETR ${number}\r\n`).join(""));
    for (const number of numbers) yield await this.#pipelinedMultiline(`RETR ${number}`);
  }

  /** As `retrEach`, all or nothing. */
  async retrMany(numbers: readonly number[]): Promise<Buffer[]> {
    const mails: Buffer[] = [];
    for await (const mail of this.retrEach(numbers)) mails.push(mail);
    return mails;
  }

  /** The header of each (`TOP n 0`, RFC 1939 §7), in one write. */
  async topMany(numbers: readonly number[]): Promise<Buffer[]> {
    if (numbers.length === 0) return [];
    this.wire.write(numbers.map((number) => `TOP ${number} 0\r\n`).join(""));
    const headers: Buffer[] = [];
    for (const number of numbers) headers.push(await this.#pipelinedMultiline(`TOP ${number}`));
    return headers;
  }

  /** DELE of each, in one write; done at QUIT. @throws Pop3Refused for the first that is refused */
  async deleMany(numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return;
    this.wire.write(numbers.map((number) => `DELE ${number}\r\n`).join(""));
    for (const number of numbers) {
      const status = await readStatus(this.wire);
      if (!status.ok) throw new Pop3Refused(`DELE ${number}`, status.line);
    }
  }

  /** QUIT: what was marked is deleted when this resolves. @throws Pop3Refused */
  async quit(): Promise<void> {
    await this.expect("QUIT");
    this.wire.destroy();
  }

  destroy(): void {
    this.wire.destroy();
  }

  async #pipelinedMultiline(command: string): Promise<Buffer> {
    const status = await readStatus(this.wire);
    if (!status.ok) throw new Pop3Refused(command, status.line);
    return await this.wire.dotted();
  }
}

/** RFC 5034 §4. */
const isChallenge = (line: string): boolean => /^\+( |$)/.test(line);

/** The wire writes one octet per character; names and passwords are UTF-8 (RFC 6856 §2.2). */
const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

async function readStatus(wire: Wire): Promise<Pop3Reply> {
  const line = await wire.line();
  if (/^\+OK( |$)/.test(line)) return { ok: true, line };
  if (/^-ERR( |$)/.test(line)) return { ok: false, line };
  throw new ProtocolError(`not a POP3 status: ${JSON.stringify(line)}`);
}

function pairs(listing: Buffer): [string, string][] {
  const lines = listing.toString("latin1").split("\r\n").slice(0, -1);
  return lines.map((line, index) => {
    const match = /^(\d+) ([\x21-\x7e]+)$/.exec(line);
    if (match === null) throw new ProtocolError(`not a listing line: ${JSON.stringify(line)}`);
    if (Number(match[1]) !== index + 1) throw new ProtocolError(`message ${match[1]} out of order`);
    return [match[1] ?? "", match[2] ?? ""];
  });
}
