/** Puts the parts of the link together: see `ports.ts` for what it promises. */
import { hash } from "node:crypto";
import {
  type AckFrame,
  connectionId,
  type DataFrame,
  ebmBounds,
  type Frame,
  type MessageProperties,
  type Origin,
  type Packet,
  type UserId,
} from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import { inlineOctetsMax, type Journal } from "../journal/journal.js";
import type { OutRecord } from "../journal/records.js";
import { BrokerSender } from "./broker-sender.js";
import { Connections } from "./connections.js";
import { Entries } from "./entries.js";
import { Handing } from "./handing.js";
import { Inbound } from "./inbound.js";
import { Letters } from "./letters.js";
import { Opening } from "./opening.js";
import { PeerSender } from "./peer-sender.js";
import type {
  DeadLetter,
  InboundMessage,
  IsWanted,
  Link,
  LinkOptions,
  LinkPorts,
  LinkReceipt,
  NewMessage,
  Received,
  ReceiptEvent,
} from "./ports.js";
import { Receipts } from "./receipts.js";
import type { Sender } from "./sender.js";
import type { SenderContext } from "./sent.js";
import { checkRoom } from "./room.js";
import { uuidv7 } from "./uuid.js";

const defaultTtlMs = 5 * 86_400_000;

const defaults = {
  windowOctets: 8 * 1024 * 1024,
  blockOctets: ebmBounds.blockOctets,
  lingerMs: 5,
  inboxOctetsMax: 512 * 1024 * 1024,
  outboxOctetsMax: 1024 * 1024 * 1024,
  deliveriesMax: 20,
  isConsumed: () => true,
};

/** What the journal has is sent on at once. A journal serves one link at a time. */
export function createLink(journal: Journal, ports: LinkPorts, options: LinkOptions): Link {
  return new JournaledLink(journal, ports, { ...defaults, ...options });
}

class JournaledLink implements Link {
  readonly #origin: Origin;
  readonly #senders = new Map<UserId, PeerSender | BrokerSender>();
  readonly #connections: Connections;
  readonly #inbound: Inbound;
  readonly #handing: Handing;
  readonly #entries: Entries;
  readonly #letters: Letters;
  readonly #opening: Opening;
  readonly #receipts = new Receipts();
  readonly #undelivered = new Set<string>();
  #waiters: (() => void)[] = [];
  #isClosed = false;
  #isReadying = false;
  #number = 0;
  readonly #stopListening: () => void;

  constructor(
    private readonly journal: Journal,
    private readonly ports: LinkPorts,
    private readonly options: Required<LinkOptions>,
  ) {
    const { device, epoch } = journal.identity;
    this.#origin = { user: options.user, device, epoch };
    this.#connections = new Connections(journal, options);
    const common = { journal, options, connections: this.#connections };
    const { clock } = ports;
    this.#handing = new Handing({ ...common, clock, ready: () => this.#ready() });
    this.#inbound = new Inbound({
      ...common,
      nowMs: () => clock.nowMs(),
      whole: (stream, message) => this.#handing.add(stream, message),
      passed: () => this.#ready(),
      dead: (letter) => this.#letters.tell(letter),
    });
    this.#letters = new Letters({ journal, deadLetter: (letter) => ports.deadLetter(letter) });
    this.#opening = new Opening({
      ...{ journal, nowMs: () => clock.nowMs(), dice: ports.dice },
      bounced: (bounce) => [...this.#senders.values()].some((sender) => sender.onBounce(bounce)),
      dead: (letter) => this.#letters.tell(letter),
    });
    this.#entries = new Entries(journal);
    this.#stopListening = journal.onFailure((error) => {
      this.close();
      ports.failed(error);
    });
    for (const [to, streams] of journal.state.out) {
      for (const { messages } of streams.values()) {
        for (const { id, delivered, isVoid } of messages.values()) {
          if (!delivered && !isVoid) this.#undelivered.add(id);
        }
        if (messages.size > 0) this.#senderTo(to);
      }
    }
  }

  /** Never from within `createLink`, whose caller has nothing yet to take from. */
  #ready(): void {
    if (this.#isReadying) return;
    this.#isReadying = true;
    void Promise.resolve().then(() => {
      this.#isReadying = false;
      if (!this.#isClosed) this.ports.ready();
    });
  }

  #senderTo(to: UserId): PeerSender | BrokerSender {
    const known = this.#senders.get(to);
    if (known) return known;
    const context: SenderContext = {
      ...{ journal: this.journal, ports: this.ports, options: this.options, origin: this.#origin },
      takeAcks: (user) => this.#connections.take(user),
      acksLost: (user) => this.#connections.lost(user),
      tell: (event) => this.#tell(event),
      nextNumber: () => (this.#number += 1),
    };
    const made =
      to === this.options.ring ? new BrokerSender(context, to) : new PeerSender(context, to);
    this.#senders.set(to, made);
    return made;
  }

  #tell(event: ReceiptEvent): void {
    this.#receipts.tell(event);
    if (event.state !== "accepted") this.#undelivered.delete(event.id);
    this.ports.receipt(event);
    if (event.state === "dead") this.#letters.tellOf(event.id);
    if (this.#undelivered.size === 0) for (const resolve of this.#waiters.splice(0)) resolve();
  }

  async send({ to, stream, properties, body }: NewMessage): Promise<LinkReceipt> {
    this.#admit(to, stream, body.length);
    const nowMs = this.ports.clock.nowMs();
    const whole: MessageProperties = {
      ...{ sentAtMs: nowMs, expiresAtMs: nowMs + defaultTtlMs },
      ...properties,
    };
    const id = uuidv7(nowMs, this.ports.dice(10));
    const file = body.length > inlineOctetsMax ? `out-${id}` : undefined;
    if (file !== undefined) await this.journal.spool(file, body, 0);
    // From here to the write in one turn, so that sequences are given in the order of the journal.
    this.#admit(to, stream, body.length);
    const sequence = this.journal.state.outStream(to, stream).next;
    const record: OutRecord = {
      kind: "out",
      to,
      stream,
      sequence,
      id,
      properties: whole,
      octets: body.length,
      digest: hash("sha256", body, "base64url"),
      ...(file !== undefined && { file }),
    };
    const sender = this.#senderTo(to);
    const written = this.journal.write(record, file === undefined ? body : undefined);
    const message = this.journal.state.outStream(to, stream).messages.get(sequence);
    this.#undelivered.add(id);
    const receipt = this.#receipts.make({ id, stream, sequence });
    await written;
    if (message && !this.#isClosed) sender.add(message);
    return receipt;
  }

  /** @throws RingpostError */
  #admit(to: UserId, stream: string, octets: number): void {
    if (this.#isClosed) throw new RingpostError("closed", "the client is closed", false);
    checkRoom(this.journal.state, this.options, { to, stream, octets });
    const sender = this.#senders.get(to);
    if (!(sender instanceof BrokerSender) || !sender.isFull) return;
    throw new RingpostError("full", "too much was given up behind what waits to be sent", true);
  }

  async receive(mail: Buffer, id: string, from?: string): Promise<Received> {
    if (this.#isClosed) return { kind: "keep", why: "closed" };
    const opened = await this.#opening.open(mail, id);
    return "kind" in opened ? opened : await this.#packet(opened, from);
  }

  async #packet({ header, frames }: Packet, from?: string): Promise<Received> {
    const { from: sender, to, connection } = header;
    const queue = /^queue:(.{1,200})$/.exec(to)?.[1];
    if (queue === undefined && to !== this.options.user) {
      return { kind: "dead", why: `it is for ${to}` };
    }
    const isOfRing = sender.user === this.options.ring;
    if (queue !== undefined && !isOfRing) {
      return { kind: "dead", why: "an entry of a queue that is not from the ring" };
    }
    if (!isOfRing && connection !== connectionId(sender, to)) {
      return { kind: "dead", why: "the connection is not its sender's" };
    }
    const verdict = await this.ports.keyVerdict(header);
    if (verdict === "unknown")
      return { kind: "keep", why: `the keys of ${sender.user} are not known` };
    if (verdict === "not theirs")
      return { kind: "dead", why: "signed with a key of somebody else" };
    if (this.#isClosed) return { kind: "keep", why: "closed" };
    const data = frames.filter((frame) => frame.kind === "data");
    // One mail lies in many queues ("queue:*"): each copy is consumed by itself.
    if (queue !== undefined) return this.#entries.take(from ?? queue, data);
    return this.#frames({ header, frames }, data);
  }

  async #frames({ header, frames }: Packet, data: readonly DataFrame[]): Promise<Received> {
    for (const frame of frames) this.#control(frame, { header, frames });
    if (data.length === 0) this.#connections.passed(header.from, header.packet);
    else {
      const why = await this.#inbound.take(header, data);
      if (why !== undefined) return { kind: "keep", why };
    }
    const answers = frames.filter((frame) => frame.kind === "configuration");
    if (answers.length > 0) return { kind: "configuration", header, frames: answers };
    return { kind: "done" };
  }

  #control(frame: Frame, { header }: Packet): void {
    if (frame.kind === "data" || frame.kind === "configuration") return;
    const sender = this.#senders.get(header.from.user);
    if (sender?.connection !== frame.connection) return;
    if (frame.kind === "ack") sender.onAck(frame satisfies AckFrame, header);
    else if (frame.kind === "nack") sender.onNack(frame);
    else if (sender instanceof PeerSender) {
      if (frame.kind === "window") sender.onWindow(frame.windowOctets);
      else sender.onResume(header);
    }
  }

  polled(): void {
    if (this.#isClosed) return;
    this.#inbound.buryRests();
    for (const user of this.#connections.usersDue()) this.#senderTo(user).acknowledge();
  }

  take(max: number, isWanted: IsWanted = () => true): readonly InboundMessage[] {
    return this.#isClosed ? [] : this.#handing.take(max, this.#inbound, isWanted);
  }

  async consume(message: InboundMessage): Promise<void> {
    if (!(await this.#entries.consume(message))) await this.#handing.consume(message);
    this.#ready();
  }

  giveBack(message: InboundMessage, delayMs = 0): void {
    this.#handing.giveBack(message, delayMs);
  }

  async reject(message: InboundMessage, why: string): Promise<void> {
    await this.#handing.reject(message, why, this.#inbound);
    this.#ready();
  }

  deadLetters(): readonly DeadLetter[] {
    return this.#letters.all();
  }

  dropDeadLetter(id: string): Promise<void> {
    return this.#letters.drop(id);
  }

  retry(to?: UserId): void {
    if (to !== undefined) this.#senders.get(to)?.retry();
    else for (const sender of this.#senders.values()) sender.retry();
  }

  get undelivered(): number {
    return this.#undelivered.size;
  }

  delivered(): Promise<void> {
    if (this.#undelivered.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopListening();
    for (const sender of this.#senders.values() as Iterable<Sender>) sender.close();
    this.#handing.close();
    this.#receipts.close();
  }
}
