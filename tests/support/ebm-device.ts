/** One program of a user, as its octets are on the wire: signs, sends by raw SMTP, reads by POP3. */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import {
  type Answer,
  type Ask,
  composeMail,
  type ConfigurationAnswer,
  connectionId,
  type DirectoryRecord,
  type Frame,
  openPacket,
  type OperationName,
  type PacketHeader,
  publicKeyText,
  readMail,
  sealPacket,
  signRecord,
} from "../../src/ebm/index.js";
import { Pop3Client } from "./pop3-client.js";
import { SmtpClient } from "./smtp-client.js";

export const control = "ring@ring.test";
export const broker = "ring+data@ring.test";

export interface PacketOptions {
  /** Instead of what is right. */
  readonly header?: Partial<Omit<PacketHeader, "hash" | "key">>;
  readonly privateKey?: KeyObject;
}

export class Device {
  readonly device = `d${randomBytes(6).toString("hex")}`;
  readonly privateKey = generateKeyPairSync("ed25519").privateKey;
  readonly user: string;
  epoch = Date.now();
  packet = 0;
  token: string | undefined;

  constructor(readonly name: string) {
    this.user = `${name}@ring.test`;
  }

  record(fields: Partial<DirectoryRecord> = {}): DirectoryRecord {
    const { signature: _, ...rest } = {
      ...{ user: this.user, version: Date.now(), addresses: [`${this.name}+data@ring.test`] },
      devices: [{ device: this.device, key: publicKeyText(this.privateKey) }],
      ...{ expiresAtMs: Date.now() + 86_400_000, signedBy: this.device, signature: "" },
      ...fields,
    };
    return signRecord(rest, this.privateKey);
  }

  /** Octets of a packet with these frames, the next in order. */
  seal(frames: readonly Frame[], { header = {}, privateKey }: PacketOptions = {}): Buffer {
    this.packet += 1;
    const from = { user: this.user, device: this.device, epoch: this.epoch };
    return sealPacket({
      header: {
        ...{ connection: connectionId(from, control), packet: this.packet, from, to: control },
        expiresAtMs: Date.now() + 300_000,
        ...(this.token !== undefined && { token: this.token }),
        ...header,
      },
      frames,
      privateKey: privateKey ?? this.privateKey,
    });
  }

  /** A mail with a question; its id is what the answer has. */
  question<N extends OperationName>(
    operation: N,
    ask: Ask<N>,
    options: PacketOptions = {},
  ): { readonly id: string; readonly mail: Buffer } {
    const id = randomBytes(8).toString("hex");
    const body = { operation, ask } as never;
    return { id, mail: this.mail(this.seal([{ kind: "configuration", id, body }], options)) };
  }

  mail(packet: Buffer, to = control): Buffer {
    return composeMail({
      ...{ from: `${this.name}@ring.test`, to, packet, date: new Date() },
      index: { connection: "c", packet: this.packet, type: "configuration" },
      messageId: `${randomBytes(12).toString("hex")}@client.test`,
    });
  }

  /** Puts a question and reads the answer. @throws when it was refused */
  async ask<N extends OperationName>(
    at: { readonly smtp: string; readonly pop3: string },
    password: string,
    operation: N,
    ask: Ask<N>,
  ): Promise<Answer<N>> {
    const { id, mail } = this.question(operation, ask);
    const line = await sendToRing(at.smtp, mail);
    if (line !== `250 2.0.0 ebm=ok id=${id}`) throw new Error(`${operation}: ${line}`);
    // Of a settlement the reply is all that is said.
    if (operation === "settle") return {} as Answer<N>;
    const answer = await answerTo(at.pop3, this.name, password, id);
    if (!answer?.ok) throw new Error(`${operation}: answered ${JSON.stringify(answer)}`);
    return answer.answer as Answer<N>;
  }

  async start(
    at: { readonly smtp: string; readonly pop3: string },
    operation: "register" | "login",
    password: string,
  ): Promise<void> {
    const record = this.record();
    this.token = (await this.ask(at, password, operation, { password, record })).token;
  }
}

/** The reply to the dot, or to whatever was refused before. */
export async function sendToRing(
  smtp: string,
  mail: Buffer,
  { from = "program@client.test", to = control } = {},
): Promise<string> {
  const client = await SmtpClient.connect(smtp, { deadlineMs: 60_000 });
  try {
    const { reply } = await client.send({ from, to: [to] }, mail);
    await client.quit();
    return reply.lines.join("\n");
  } finally {
    client.destroy();
  }
}

/** The packets that wait in a maildrop, whose signature is the one they name. */
export async function packetsIn(pop3: string, login: string, password: string) {
  const client = await Pop3Client.login(pop3, login, password, 60_000);
  try {
    const mails = await client.all();
    await client.quit();
    return mails.map(({ bytes }) =>
      openPacket(readMail(bytes).packet ?? Buffer.alloc(0), Date.now()),
    );
  } finally {
    client.destroy();
  }
}

async function answerTo(
  pop3: string,
  name: string,
  password: string,
  id: string,
): Promise<ConfigurationAnswer | undefined> {
  const packets = await packetsIn(pop3, `${name}/config`, password);
  const frames = packets.flatMap((packet) => packet.frames);
  const found = frames.find((frame) => frame.kind === "configuration" && frame.id === id);
  return found?.kind === "configuration" ? (found.body as ConfigurationAnswer) : undefined;
}
