/** The relay's SMTP: takes mails whole, as a store-and-forward system, and does with them what their fate says. */
import { setTimeout as sleep } from "node:timers/promises";
import { SMTPServer, type SMTPServerSession } from "smtp-server";
import { SmtpClient } from "../../../src/drill/smtp-client.js";
import { bounceOf } from "../../simulation/link-post.js";
import type { Addressee, Fate, Fates } from "./faults.js";
import { rewritten } from "./rewriting.js";

interface Mail {
  readonly from: string;
  readonly to: string;
  readonly octets: Buffer;
  readonly messageId: string;
}

interface Reply {
  readonly code: number;
  readonly text: string;
}
/** `cut`: the connection is. */
type Answer = Reply | "cut";

export interface SmtpSideOptions {
  readonly fates: Fates;
  /** host:port of the member behind this front. */
  readonly upstream: () => string;
  /** Members that may be asked instead, for what was taken before. */
  readonly others: () => readonly string[];
  readonly signal: AbortSignal;
}

const queued: Reply = { code: 250, text: "2.0.0 Ok: queued as 4WkV7b" };
const tries = 20;
const deadlineMs = 60_000;

export class SmtpSide {
  readonly #options: SmtpSideOptions;
  readonly #server: SMTPServer;
  mails = 0;
  octets = 0;

  constructor(options: SmtpSideOptions) {
    this.#options = options;
    this.#server = new SMTPServer({
      ...{ authOptional: true, disableReverseLookup: true, disabledCommands: ["STARTTLS", "AUTH"] },
      ...{ closeTimeout: 1, logger: false, hideSize: true },
      onData: (stream, session, done) => {
        const { from, to } = envelopeOf(session);
        const fate = options.fates.ofMail(from, to, addresseeOf(to));
        const cutAt = fate.fault === "cut in DATA" ? fate.dice.whole(0, 100_000) : Infinity;
        const pieces: Buffer[] = [];
        let octets = 0;
        stream.on("data", (piece: Buffer) => {
          pieces.push(piece);
          octets += piece.length;
          if (octets >= cutAt) this.#cut(session);
        });
        stream.on("end", () => {
          const mail = mailOf({ from, to }, Buffer.concat(pieces));
          void this.#treat(mail, fate).then((answer) => {
            if (answer === "cut") this.#cut(session);
            else if (answer.code < 300) done(null, answer.text);
            else done(Object.assign(new Error(answer.text), { responseCode: answer.code }));
          });
        });
      },
    });
    this.#server.on("error", () => undefined);
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      const listening = this.#server.listen(0, "127.0.0.1", () => {
        resolve(`127.0.0.1:${(listening.address() as { port: number }).port}`);
      });
    });
  }

  async close(): Promise<void> {
    for (const { _socket: socket } of connectionsOf(this.#server)) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #cut({ id }: SMTPServerSession): void {
    for (const { id: each, _socket: socket } of connectionsOf(this.#server)) {
      if (each === id) socket.destroy();
    }
  }

  async #treat(mail: Mail, fate: Fate): Promise<Answer> {
    const { fates } = this.#options;
    this.mails += 1;
    this.octets += mail.octets.length;
    if (mail.octets.length > fate.sizeMax) return this.#tooLarge(mail, fate);
    const { fault, dice } = fate;
    if (fault !== undefined) fates.note(fault);
    switch (fault) {
      case undefined:
        return this.#through(mail, fate);
      case "dropped":
        return queued;
      case "word lost":
        void this.#eventually(mail, fate, 0);
        return queued;
      case "delayed":
        void this.#eventually(mail, fate, dice.whole(50, fates.delayMaxMs));
        return queued;
      case "doubled": {
        void this.#eventually(mail, fate, dice.whole(0, fates.delayMaxMs));
        return this.#through(mail, fate);
      }
      case "cut in DATA":
      case "cut, lost":
        return "cut";
      case "cut, taken":
        await this.#through(mail, fate);
        return "cut";
      case "slow reply": {
        const answer = await this.#through(mail, fate);
        await this.#sleep(dice.whole(100, fates.slowMaxMs));
        return answer;
      }
      case "greylisted":
        return dice.pick([
          { code: 451, text: "4.7.1 greylisted, come again" },
          { code: 452, text: "4.3.1 no room at the moment" },
          { code: 421, text: "4.3.2 closing for a moment" },
        ]);
      case "bounced: delayed":
        void this.#eventually(mail, fate, dice.whole(50, fates.delayMaxMs));
        void this.#bounce(mail, "delayed", "4.4.1");
        return queued;
      case "bounced: for now":
        void this.#bounce(mail, "failed", dice.pick(["4.4.7", "4.2.2", "5.2.2"]));
        return queued;
      case "bounced: forged": {
        const forged = bounceOf(`${dice.whole(1, 1e9)}.ebm@ringpost.invalid`, "failed", "5.1.1");
        void this.#retried({ from: "", to: mail.from, octets: forged });
        return this.#through(mail, fate);
      }
    }
  }

  #tooLarge(mail: Mail, { dice }: Fate): Answer {
    const { fates } = this.#options;
    if (mail.to.includes("+data@") && !isForRing(mail.to) && dice.chance(0.5)) {
      fates.note("bounced: too large");
      void this.#bounce(mail, "failed", "5.3.4");
      return queued;
    }
    fates.note("too large");
    return { code: 552, text: "5.3.4 that is too large for me today" };
  }

  /** To the member behind this front, whose reply is ours. One that is gone takes the connection with it. */
  async #through(mail: Mail, fate: Fate): Promise<Answer> {
    return (await this.#hand(this.#options.upstream(), this.#onItsWay(mail, fate))) ?? "cut";
  }

  /** What was taken goes to any member, as mail servers do, for as long as it takes. */
  async #eventually(mail: Mail, fate: Fate, afterMs: number): Promise<void> {
    await this.#sleep(afterMs);
    await this.#retried(this.#onItsWay(mail, fate));
  }

  async #bounce({ from, messageId }: Mail, action: string, status: string): Promise<void> {
    await this.#retried({ from: "", to: from, octets: bounceOf(messageId, action, status) });
  }

  async #retried(mail: Omit<Mail, "messageId">): Promise<void> {
    const { upstream, others, signal } = this.#options;
    for (let n = 0; n < tries && !signal.aborted; n += 1) {
      const all = [upstream(), ...others()];
      const reply = await this.#hand(all[n % all.length] ?? upstream(), mail);
      if (reply !== undefined && (reply.code < 400 || reply.code >= 500)) return;
      await this.#sleep(500);
    }
  }

  #onItsWay(mail: Mail, { isRewritten, dice }: Fate): Mail {
    if (!isRewritten) return mail;
    this.#options.fates.note("rewritten");
    return { ...mail, octets: rewritten(mail.octets, dice) };
  }

  async #hand(at: string, { from, to, octets }: Omit<Mail, "messageId">) {
    let client: SmtpClient | undefined;
    try {
      client = await SmtpClient.connect(at, { deadlineMs });
      const { reply } = await client.send({ from, to: [to] }, octets);
      await client.quit().catch(() => undefined);
      return { code: reply.code, text: reply.lines.map((line) => line.slice(4)).join(" ") };
    } catch {
      return undefined;
    } finally {
      client?.destroy();
    }
  }

  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }
}

const isForRing = (to: string): boolean => /^ring(\+data)?@/.test(to);

function addresseeOf(to: string): Addressee {
  if (!isForRing(to)) return "peer";
  return to.startsWith("ring@") ? "control" : "broker";
}

function envelopeOf({ envelope: { mailFrom, rcptTo } }: SMTPServerSession) {
  return { from: mailFrom === false ? "" : mailFrom.address, to: rcptTo[0]?.address ?? "" };
}

function mailOf({ from, to }: { from: string; to: string }, octets: Buffer): Mail {
  const header = octets.toString("latin1", 0, 4_096);
  const messageId = /^message-id: *<([^>]*)>/im.exec(header)?.[1] ?? "";
  return { from, to, octets, messageId };
}

interface Connection {
  readonly id: string;
  readonly _socket: { destroy(): void };
}

const connectionsOf = (server: SMTPServer): readonly Connection[] => [
  ...((server as unknown as { connections: Set<Connection> }).connections ?? []),
];
