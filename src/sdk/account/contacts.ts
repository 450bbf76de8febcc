/** Contacts: kept on the ring, and here for when it can't be reached. */
import type { Contact } from "../../ebm/index.js";
import { checkObject } from "../checks.js";
import type { Control } from "../control/control.js";
import { RingpostError } from "../errors.js";
import type { Values } from "../journal/ports.js";

export interface ContactsOptions {
  readonly ask: Control["ask"];
  readonly values: Values;
  readonly idOf: (name: string) => string;
}

const key = "contacts";

export class Contacts {
  readonly #options: ContactsOptions;

  constructor(options: ContactsOptions) {
    this.#options = options;
  }

  async add(contact: Contact): Promise<void> {
    checkObject(contact, "contact");
    const added = { ...contact, user: this.#options.idOf(contact.user) };
    await this.#options.ask("addContact", added);
    await this.#keep([...this.#without(added.user), added]);
  }

  /** From the ring; what is kept here when it can't be reached. */
  async list(): Promise<readonly Contact[]> {
    try {
      const { contacts } = await this.#options.ask("listContacts", {});
      await this.#keep(contacts);
      return contacts;
    } catch (error) {
      const isAway = error instanceof RingpostError && error.retryable;
      if (!isAway) throw error;
      return this.#kept();
    }
  }

  async remove(name: string): Promise<void> {
    const user = this.#options.idOf(name);
    await this.#options.ask("removeContact", { user });
    await this.#keep(this.#without(user));
  }

  #kept(): readonly Contact[] {
    return (this.#options.values.get(key) as readonly Contact[] | undefined) ?? [];
  }

  #without(user: string): readonly Contact[] {
    return this.#kept().filter((contact) => contact.user !== user);
  }

  #keep(contacts: readonly Contact[]): Promise<void> {
    return this.#options.values.set(key, contacts);
  }
}
