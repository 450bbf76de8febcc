/** For the tests of this room: a ring's middleware over registers and maildrops in memory. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import {
  type Ask,
  composeMail,
  connectionId,
  type DirectoryRecord,
  type Frame,
  openPacket,
  type OperationName,
  type Packet,
  type PacketHeader,
  publicKeyText,
  readMail,
  sealPacket,
  type Settled,
  signRecord,
} from "../../ebm/index.js";
import type {
  Delivery,
  DeliveryAnswer,
  RingMail,
  RingPart,
  RingReply,
} from "../../mailbox/ports.js";
import { RingKeys } from "../../mailbox/ring-keys.js";
import { keyLifeMs, Sessions } from "../../mailbox/sessions.js";
import { createWorld } from "../../mailbox/testing.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { BodyDigest, MailboxName, MessageId } from "../../shared/ids.js";
import { createMiddleware, type Middleware, type MiddlewareOptions } from "../middleware.js";
import type { Answers, Broker, PublishOutcome } from "../ports.js";

export const ring = "ring@ring.test";

interface KeptCopy {
  readonly id: MessageId;
  readonly receivedAtMs: number;
  readonly bodyOctets: number;
  readonly trace: string;
  readonly bytes: Buffer;
}

export interface Settings {
  readonly policy?: MiddlewareOptions["policy"];
  /** Mail can be sent to other mail systems; it is in `sent`. */
  readonly reachesElsewhere?: boolean;
}

export class ControlWorld {
  readonly mail = createWorld();
  readonly drops = new Map<string, KeptCopy[]>();
  readonly sent: { readonly to: string; readonly octets: Buffer }[] = [];
  readonly logged: string[] = [];
  readonly removedFiles: string[] = [];
  readonly files = new Map<string, Buffer>();
  published: Packet[] = [];
  /** Settlements, as the broker gets them. */
  readonly settled: Ask<"settle">[] = [];
  settles: Settled = {};
  publishes: PublishOutcome = { kind: "taken", routed: 2, copies: 2, copiesWanted: 3 };
  publishesForMs = 0;
  /** Maildrops that a client has open. */
  readonly inUse = new Set<string>();
  answers: Answers | undefined;
  readonly middleware: Middleware;
  private messages = 0;

  constructor({ policy = "open", reachesElsewhere = false }: Settings = {}) {
    this.nowMs = 1_800_000_000_000;
    for (const name of ["ann", "bob"]) this.setDrop(`${name}@ring.test/config` as MailboxName, []);
    for (let n = 0; n < 300; n += 1) this.setDrop(`user${n}@ring.test/config` as MailboxName, []);
    this.setDrop(ring as MailboxName, []);
    const registers = this.mail.registers as unknown as Registers;
    const clock: Clock = {
      wallMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      // What is looked at now and then is so in tests of its own.
      sleep: (ms) => (ms < 5_000 ? Promise.resolve() : new Promise(() => undefined)),
    };
    const random: Randomness = { bytes: (n) => randomBytes(n) };
    const { registry } = this.mail;
    const announceChanged = () => Promise.resolve();
    const keys = new RingKeys({ registers, clock, random, tokenMs: keyLifeMs, announceChanged });
    const sessions = new Sessions({
      keys,
      accounts: registry.accounts,
      domain: "ring.test",
      clock,
    });
    const note = (fields: object, message: string): void => {
      this.logged.push(`${message} ${JSON.stringify(fields)}`);
    };
    this.middleware = createMiddleware({
      ...{ domain: "ring.test", policy, registry, sessions, keys, clock, random },
      mailboxes: this.mailboxes() as unknown as MiddlewareOptions["mailboxes"],
      authenticator: {
        begin: () => {
          throw new Error("nobody begins an exchange here");
        },
        password: async (name: string, password: string) => {
          const answer = await registry.accounts.read(name as MailboxName);
          const isRight =
            answer.kind === "account" && answer.account.passwordHash === `h:${password}`;
          if (!isRight) return { kind: "denied" };
          return { kind: "granted", identity: { mailbox: name as MailboxName, folder: "inbox" } };
        },
      },
      replication: {
        ...{ registers, announceChanged, onRegisterChanged: () => undefined },
        openMaildrop: (mailbox: MailboxName) => Promise.resolve(this.open(mailbox)),
      } as unknown as MiddlewareOptions["replication"],
      files: {
        read: (path: string) => Promise.resolve(this.files.get(path) ?? Buffer.alloc(0)),
        remove: (path: string) => {
          this.removedFiles.push(path);
          return Promise.resolve();
        },
      } as unknown as MiddlewareOptions["files"],
      servers: () => Promise.resolve([{ smtp: "127.0.0.1:25", pop3: "127.0.0.1:110" }]),
      broker: this.broker(),
      ...(reachesElsewhere && {
        outgoing: {
          send: (mail: { readonly to: string; readonly octets: Buffer }) => {
            this.sent.push(mail);
            return Promise.resolve();
          },
        },
      }),
      log: { debug: note, info: note, warn: note, error: note },
    });
    this.answers = this.middleware.answers;
  }

  get nowMs(): number {
    return this.mail.nowMs;
  }

  set nowMs(ms: number) {
    this.mail.nowMs = ms;
  }

  private broker(): Broker {
    const done = () => Promise.resolve({ ok: true, answer: {} } as const);
    const settle = (ask: Ask<"settle">) => {
      this.settled.push(ask);
      return Promise.resolve({ ok: true, answer: this.settles } as const);
    };
    return {
      operations: new Proxy({} as Broker["operations"], {
        get: (_, name) => (name === "settle" ? settle : done),
      }),
      publish: (packet) => {
        this.published.push(packet);
        this.nowMs += this.publishesForMs;
        return Promise.resolve(this.publishes);
      },
    };
  }

  private mailboxes() {
    return {
      deliver: async ({ mailboxes, body, traceFor }: Delivery): Promise<DeliveryAnswer> => {
        const bytes = body.kind === "bytes" ? body.bytes : Buffer.alloc(0);
        const { quotas } = this.mail.registry;
        const room = await quotas.reserve(
          mailboxes.map((mailbox) => ({ mailbox, octets: bytes.length })),
        );
        if (!room) return { kind: "overQuota" };
        room.end(true);
        const ids = mailboxes.map((mailbox) => {
          this.messages += 1;
          const id = this.messages.toString(16).padStart(32, "0") as MessageId;
          const trace = traceFor(mailbox, id);
          const copy = { id, receivedAtMs: this.nowMs, bodyOctets: bytes.length, trace, bytes };
          this.setDrop(mailbox, [...(this.drops.get(mailbox) ?? []), copy]);
          return id;
        });
        return { kind: "stored", ids, copies: 2, copiesWanted: 3 };
      },
      settled: () => undefined,
      purge: () => Promise.resolve(true),
    };
  }

  setDrop(mailbox: MailboxName, drop: KeptCopy[]): void {
    this.drops.set(mailbox, drop);
    const octets = drop.reduce((sum, { bodyOctets }) => sum + bodyOctets, 0);
    this.mail.usage.set(mailbox, { octets, messages: drop.length });
  }

  private open(mailbox: MailboxName) {
    if (this.inUse.has(mailbox)) return { kind: "inUse" };
    const messages = [...(this.drops.get(mailbox) ?? [])];
    return {
      kind: "open",
      maildrop: {
        messages,
        read: ({ trace, bytes }: KeptCopy) =>
          Promise.resolve(Buffer.concat([Buffer.from(trace), bytes])),
        remove: (gone: readonly KeptCopy[]) => {
          const left = (this.drops.get(mailbox) ?? []).filter((one) => !gone.includes(one));
          this.setDrop(mailbox, left);
          return Promise.resolve(true);
        },
        release: () => undefined,
      },
    };
  }

  take(bytes: Buffer, more: Partial<RingMail> = {}): Promise<RingReply> {
    const digest = createHash("sha256").update(bytes).digest("hex") as BodyDigest;
    return this.middleware.receiver.take({
      ...{ part: "control", sender: "", body: { kind: "bytes", digest, bytes } },
      ...{ clientAddress: "192.0.2.1", user: undefined },
      traceFor: (_, id) => `Received: id ${id}\r\n`,
      ...more,
    });
  }

  /** The packets that lie in a maildrop. */
  packetsIn(mailbox: string): Packet[] {
    const drop = this.drops.get(mailbox) ?? [];
    return drop.map(({ bytes }) =>
      openPacket(readMail(bytes).packet ?? Buffer.alloc(0), this.nowMs),
    );
  }
}

/** One program of a user. */
export class TestDevice {
  readonly device = `d${randomBytes(4).toString("hex")}`;
  readonly privateKey: KeyObject = generateKeyPairSync("ed25519").privateKey;
  packet = 0;
  token: string | undefined;

  constructor(
    private readonly world: ControlWorld,
    readonly user: string,
    readonly addresses: readonly string[] = [user.replace("@", "+data@")],
  ) {}

  record(): DirectoryRecord {
    const key = publicKeyText(this.privateKey);
    return signRecord(
      {
        ...{ user: this.user, version: this.world.nowMs, addresses: this.addresses },
        ...{ devices: [{ device: this.device, key }], signedBy: this.device },
        expiresAtMs: this.world.nowMs + 86_400_000,
      },
      this.privateKey,
    );
  }

  seal(frames: readonly Frame[], header: Partial<PacketHeader> = {}): Buffer {
    this.packet += 1;
    const from = { user: this.user, device: this.device, epoch: 1 };
    const packet = sealPacket({
      header: {
        ...{ connection: connectionId(from, ring), packet: this.packet, from, to: ring },
        expiresAtMs: this.world.nowMs + 300_000,
        ...(this.token !== undefined && { token: this.token }),
        ...header,
      },
      frames,
      privateKey: this.privateKey,
    });
    return composeMail({
      ...{ from: this.user, to: ring, messageId: "x@y", date: new Date(0), packet },
      index: { connection: "c", packet: this.packet, type: "configuration" },
    });
  }

  question<N extends OperationName>(operation: N, ask: Ask<N>, header?: Partial<PacketHeader>) {
    const body = { operation, ask } as never;
    return this.seal([{ kind: "configuration", id: "q1", body }], header);
  }

  ask<N extends OperationName>(
    operation: N,
    ask: Ask<N>,
    { part = "control" as RingPart, ...more }: Partial<RingMail> = {},
  ): Promise<RingReply> {
    return this.world.take(this.question(operation, ask), { part, ...more });
  }

  async start(operation: "register" | "login", password = "pw"): Promise<RingReply> {
    const reply = await this.ask(operation, { password, record: this.record() });
    const elsewhere = this.world.sent.at(-1)?.octets;
    const packet = elsewhere
      ? openPacket(readMail(elsewhere).packet ?? Buffer.alloc(0), this.world.nowMs)
      : this.world.packetsIn(`${this.user}/config`).at(-1);
    const [frame] = packet?.frames ?? [];
    const body = frame?.kind === "configuration" ? (frame.body as { answer?: unknown }) : {};
    const { token } = (body.answer ?? {}) as { token?: string };
    if (reply.code === 250) this.token = token;
    return reply;
  }
}
