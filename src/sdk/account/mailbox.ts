/** People's mail: the inbox and the outbox over POP3, sending by submission. */
import { randomUUID } from "node:crypto";
import type { Pop3Client } from "../../client/pop3-client.js";
import type { QuotaAnswer } from "../../ebm/index.js";
import type { Folder, MailItem } from "../api.js";
import { check, checkFolder, checkObject, checkTexts } from "../checks.js";
import type { Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import { headerField } from "../header-field.js";
import { isTemporary, type SmtpReply } from "../transport/reply.js";
import type { MailMaker } from "../transport/sender.js";
import { composeText } from "./compose-text.js";

export interface MailboxOptions {
  readonly ask: Control["ask"];
  /** The address that mail is sent from. */
  readonly address: string;
  readonly open: <T>(folder: Folder, use: (client: Pop3Client) => Promise<T>) => Promise<T>;
  readonly submit: (make: MailMaker) => Promise<SmtpReply>;
}

/** Headers that are asked for before one is read. */
const looksAtOnce = 100;

export class MailboxFolders {
  readonly #options: MailboxOptions;

  constructor(options: MailboxOptions) {
    this.#options = options;
  }

  /** By their headers only. */
  async list(folder: Folder): Promise<readonly MailItem[]> {
    checkFolder(folder);
    const [items, { ids }] = await Promise.all([
      this.#options.open(folder, headersOf),
      this.#options.ask("listRead", {}),
    ]);
    const read = new Set(ids);
    return items.map((item) => ({ ...item, read: read.has(item.uid) }));
  }

  async read(folder: Folder, uid: string): Promise<Buffer> {
    checkFolder(folder);
    const mail = await this.#options.open(folder, async (client) => {
      const index = (await client.uidl()).indexOf(uid);
      return index < 0 ? undefined : await client.retr(index + 1);
    });
    if (mail === undefined) throw new RingpostError("unknown", `${folder}: no mail ${uid}`, false);
    return mail;
  }

  async markRead(uids: readonly string[]): Promise<void> {
    checkTexts(uids, "markRead");
    await this.#options.ask("markRead", { ids: uids });
  }

  /** What is not there (any more) is passed over. */
  async delete(folder: Folder, uids: readonly string[]): Promise<void> {
    checkFolder(folder);
    checkTexts(uids, "delete");
    const gone = new Set(uids);
    await this.#options.open(folder, async (client) => {
      const numbers = (await client.uidl()).flatMap((uid, index) =>
        gone.has(uid) ? [index + 1] : [],
      );
      await client.deleMany(numbers);
    });
  }

  async send(mail: {
    readonly to: readonly string[];
    readonly subject: string;
    readonly text: string;
  }): Promise<void> {
    const { address: from, submit } = this.#options;
    checkObject(mail, "mail");
    checkTexts(mail.to, "to");
    check(mail.to.length > 0, "a mail needs a receiver");
    for (const part of ["subject", "text"] as const) {
      check(typeof mail[part] === "string", `${part}: a text`);
    }
    // The same Message-ID on each try: a ring knows by it a mail that comes twice.
    const messageId = `${randomUUID()}@${from.slice(from.lastIndexOf("@") + 1)}`;
    const octets = composeText({ from, messageId, date: new Date(), ...mail });
    const reply = await submit(() => ({ from, to: mail.to, octets }));
    if (reply.code === 250) return checkAllTook(reply);
    const code = reply.code === 552 || reply.code === 452 ? "full" : "forbidden";
    throw new RingpostError(code, `${reply.code} ${reply.text}`, isTemporary(reply));
  }

  quota(): Promise<QuotaAnswer> {
    return this.#options.ask("quota", {});
  }
}

/** A mail is taken when one of its receivers is: the others get nothing, and nobody else tells. */
function checkAllTook({ rejected = [] }: SmtpReply): void {
  if (rejected.length === 0) return;
  const why = rejected.map(({ address, reply }) => `${address}: ${reply}`).join("; ");
  throw new RingpostError("forbidden", `sent to the others, and not to ${why}`, false);
}

async function headersOf(client: Pop3Client): Promise<Omit<MailItem, "read">[]> {
  const listed = await client.list();
  const uids = listed.length === 0 ? [] : await client.uidl();
  const items: Omit<MailItem, "read">[] = [];
  for (let at = 0; at < listed.length; at += looksAtOnce) {
    const some = listed.slice(at, at + looksAtOnce);
    const headers = await client.topMany(some.map(([number]) => number));
    for (const [index, [number, octets]] of some.entries()) {
      const header = headers[index] ?? Buffer.alloc(0);
      const field = (name: string): string => decodeWords(headerField(header, name));
      const date = new Date(field("date"));
      items.push({
        uid: uids[number - 1] ?? "",
        octets,
        from: field("from"),
        to: field("to"),
        subject: field("subject"),
        date: Number.isNaN(date.getTime()) ? undefined : date,
      });
    }
  }
  return items;
}

/** Encoded words, RFC 2047; what is none stays as it is. */
function decodeWords(text: string): string {
  const joined = text.replace(/(=\?[^?\s]+\?[bq]\?[^?]*\?=)\s+(?==\?)/gi, "$1");
  return joined.replace(
    /=\?([^?\s*]+)(?:\*[^?]*)?\?([bq])\?([^?]*)\?=/gi,
    (word, charset: string, encoding: string, data: string) => {
      const octets = encoding.toLowerCase() === "b" ? Buffer.from(data, "base64") : unquote(data);
      try {
        return new TextDecoder(charset).decode(octets);
      } catch {
        return word;
      }
    },
  );
}

const unquote = (data: string): Buffer =>
  Buffer.from(
    data
      .replaceAll("_", " ")
      .replace(/=([0-9a-f]{2})/gi, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      ),
    "latin1",
  );
