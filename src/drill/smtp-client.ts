import { ProtocolError, stuff, Wire } from "../client/wire.js";

/** A whole reply; `lines` as received, without CRLF. */
export interface SmtpReply {
  readonly code: number;
  readonly lines: readonly string[];
}

export interface Envelope {
  readonly from: string;
  readonly to: readonly string[];
}

/** Where a transaction ended: at the final dot, or at the command that was refused. */
export interface SendResult {
  readonly stage: "mail" | "rcpt" | "data" | "dot";
  readonly reply: SmtpReply;
  readonly replies: readonly SmtpReply[];
  /** True for a 250 after the dot. */
  readonly stored: boolean;
}

/** A small strict SMTP client (RFC 5321): complains about anything that is not a proper reply. */
export class SmtpClient {
  private constructor(
    readonly wire: Wire,
    readonly greeting: SmtpReply,
  ) {}

  /** Connects and waits for the 220; `ehlo: false` leaves the rest of the hello to the caller. */
  static async connect(
    addr: string,
    options: { readonly deadlineMs?: number; readonly ehlo?: boolean } = {},
  ): Promise<SmtpClient> {
    const wire = await Wire.connect(addr, options.deadlineMs);
    try {
      const client = new SmtpClient(wire, await readReply(wire));
      const { code, lines } = client.greeting;
      if (code !== 220) throw new Error(`greeting: ${lines.join()}`);
      if (options.ehlo !== false) await client.expect(250, "EHLO client.test");
      return client;
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  /** Sends one line and returns its reply. */
  async command(line: string | Buffer): Promise<SmtpReply> {
    this.wire.write(typeof line === "string" ? `${line}\r\n` : line);
    return await readReply(this.wire);
  }

  async expect(code: number, line: string): Promise<SmtpReply> {
    const reply = await this.command(line);
    if (reply.code !== code) throw new Error(`${line}: ${reply.lines.join(" / ")}`);
    return reply;
  }

  reply(): Promise<SmtpReply> {
    return readReply(this.wire);
  }

  /** One transaction in lock-step; `mail` has CRLF line ends. */
  async send(envelope: Envelope, mail: Buffer): Promise<SendResult> {
    const replies: SmtpReply[] = [];
    const step = async (line: string | Buffer): Promise<SmtpReply> => {
      const reply = await this.command(line);
      replies.push(reply);
      return reply;
    };
    const eightBit = mail.some((octet) => octet > 0x7f) ? " BODY=8BITMIME" : "";
    const sender = await step(`MAIL FROM:<${envelope.from}>${eightBit}`);
    if (sender.code !== 250) return this.#refused("mail", sender, replies);
    for (const to of envelope.to) {
      const recipient = await step(`RCPT TO:<${to}>`);
      if (recipient.code !== 250) return this.#refused("rcpt", recipient, replies);
    }
    const data = await step("DATA");
    if (data.code !== 354) return this.#refused("data", data, replies);
    const reply = await step(stuff(mail));
    return { stage: "dot", reply, replies, stored: reply.code === 250 };
  }

  /** Several transactions, each with MAIL, RCPT and DATA in one write (RFC 2920 §3.1). */
  async sendPipelined(envelope: Envelope, mails: readonly Buffer[]): Promise<SendResult[]> {
    const results: SendResult[] = [];
    for (const mail of mails) {
      const rcpts = envelope.to.map((to) => `RCPT TO:<${to}>\r\n`).join("");
      this.wire.write(`MAIL FROM:<${envelope.from}>\r\n${rcpts}DATA\r\n`);
      const replies: SmtpReply[] = [];
      for (let n = 0; n < envelope.to.length + 2; n += 1) replies.push(await this.reply());
      const bad = replies.find(
        (reply, index) => reply.code !== (index > envelope.to.length ? 354 : 250),
      );
      if (bad !== undefined) throw new Error(`pipelined: ${bad.lines.join(" / ")}`);
      this.wire.write(stuff(mail));
      const reply = await this.reply();
      results.push({
        stage: "dot",
        reply,
        replies: [...replies, reply],
        stored: reply.code === 250,
      });
    }
    return results;
  }

  /** An orderly end: the server then knows that every reply was read. */
  async quit(): Promise<void> {
    await this.expect(221, "QUIT");
    this.wire.destroy();
  }

  destroy(): void {
    this.wire.destroy();
  }

  /** Ends as a connection that gets lost: with a reset, so that no reply counts as read. */
  reset(): void {
    this.wire.reset();
  }

  async #refused(
    stage: SendResult["stage"],
    reply: SmtpReply,
    replies: readonly SmtpReply[],
  ): Promise<SendResult> {
    if (reply.code !== 421) await this.expect(250, "RSET");
    return { stage, reply, replies, stored: false };
  }
}

async function readReply(wire: Wire): Promise<SmtpReply> {
  const lines: string[] = [];
  for (;;) {
    const line = await wire.line();
    const match = /^([2-5]\d\d)([ -])/.exec(line) ?? /^([2-5]\d\d)$/.exec(line);
    if (match === null) throw new ProtocolError(`not an SMTP reply: ${JSON.stringify(line)}`);
    lines.push(line);
    if (lines[0]?.slice(0, 3) !== match[1]) {
      throw new ProtocolError(`mixed codes: ${lines.join(" / ")}`);
    }
    if (match[2] !== "-") return { code: Number(match[1]), lines };
  }
}

/** Sends one mail over a connection of its own and ends in good order. Throws unless stored. */
export async function sendMail(addr: string, envelope: Envelope, mail: Buffer): Promise<string> {
  const client = await SmtpClient.connect(addr);
  try {
    const result = await client.send(envelope, mail);
    if (!result.stored) throw new Error(`${result.stage}: ${result.reply.lines.join(" / ")}`);
    await client.quit();
    return result.reply.lines.join("\n");
  } finally {
    client.destroy();
  }
}
