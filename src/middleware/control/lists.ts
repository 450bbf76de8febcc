/** What the ring keeps for a user's programs: contacts, and which mails were read. One register each. */
import type { Contact } from "../../ebm/index.js";
import type { Registers } from "../../replication/registers.js";
import type { MailboxName } from "../../shared/ids.js";
import { controlLimits } from "./limits.js";
import { refuse, type Refusal, undecided } from "./refusal.js";

type Done = { readonly ok: true } | Refusal;
type Listed<T> = { readonly ok: true; readonly list: readonly T[] } | Refusal;

/** A list in a register. Changes of it are idempotent. */
class List<T> {
  constructor(
    private readonly registers: Pick<Registers, "read" | "change">,
    private readonly kind: "contacts" | "read",
    private readonly listIn: (value: unknown) => readonly T[],
    private readonly valueOf: (list: readonly T[]) => unknown,
  ) {}

  async read(user: MailboxName): Promise<Listed<T>> {
    const answer = await this.registers.read(`${this.kind}:${user}`, { alone: true });
    if (answer.kind === "undecided") return undecided();
    return { ok: true, list: answer.kind === "value" ? this.listIn(answer.value) : [] };
  }

  /** `make` answers the same list when there is nothing to change. */
  async change(
    user: MailboxName,
    make: (list: readonly T[]) => readonly T[] | Refusal,
  ): Promise<Done> {
    const answer = await this.registers.change<Done>(`${this.kind}:${user}`, (before) => {
      const list = this.listIn(before);
      const made = make(list);
      if ("ok" in made) return { result: made };
      if (made === list) return { result: { ok: true } };
      return { set: { value: this.valueOf(made) }, result: { ok: true } };
    });
    return answer.kind === "undecided" ? undecided() : answer.result;
  }
}

export class Contacts {
  private readonly list: List<Contact>;

  constructor(registers: Pick<Registers, "read" | "change">) {
    this.list = new List<Contact>(
      registers,
      "contacts",
      (value) => (value as { contacts?: readonly Contact[] } | null)?.contacts ?? [],
      (contacts) => ({ contacts }),
    );
  }

  read(user: MailboxName): Promise<Listed<Contact>> {
    return this.list.read(user);
  }

  /** Names a contact anew that is there already. */
  add(user: MailboxName, contact: Contact): Promise<Done> {
    const { contactsMax, contactsOctetsMax } = controlLimits;
    return this.list.change(user, (list) => {
      const next = [...list.filter((one) => one.user !== contact.user), contact];
      next.sort((a, b) => (a.user < b.user ? -1 : 1));
      if (next.length > contactsMax) return refuse("full", `${contactsMax} contacts are there`);
      return Buffer.byteLength(JSON.stringify(next)) > contactsOctetsMax
        ? refuse("full", `the contacts are longer than ${contactsOctetsMax} octets together`)
        : next;
    });
  }

  remove(user: MailboxName, contact: string): Promise<Done> {
    return this.list.change(user, (list) =>
      list.some((one) => one.user === contact) ? list.filter((one) => one.user !== contact) : list,
    );
  }
}

const idOctets = 16;

/** Ids are 32 hex digits; kept as 16 octets each, the ones marked last at the end. */
export class ReadMarks {
  private readonly list: List<string>;

  constructor(registers: Pick<Registers, "read" | "change">) {
    this.list = new List<string>(registers, "read", unpack, (ids) => ({
      ids: Buffer.from(ids.join(""), "hex").toString("base64"),
    }));
  }

  read(user: MailboxName): Promise<Listed<string>> {
    return this.list.read(user);
  }

  /** The oldest marks make room. */
  add(user: MailboxName, ids: readonly string[]): Promise<Done> {
    return this.list.change(user, (list) => {
      const known = new Set(list);
      const fresh = [...new Set(ids)].filter((id) => !known.has(id));
      return fresh.length === 0 ? list : [...list, ...fresh].slice(-controlLimits.readMarksMax);
    });
  }
}

function unpack(value: unknown): readonly string[] {
  const { ids = "" } = (value ?? {}) as { ids?: string };
  const octets = Buffer.from(ids, "base64");
  return Array.from({ length: Math.floor(octets.length / idOctets) }, (_, index) =>
    octets.subarray(index * idOctets, (index + 1) * idOctets).toString("hex"),
  );
}
