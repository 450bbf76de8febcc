import type { CatalogEntry, MailboxContents, MailboxSummary } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import {
  fromCatalogText,
  isEmpty,
  type Mailbox,
  type MailboxOperation,
  newMailbox,
  toCatalogText,
  totalsOf,
} from "./mailbox.js";
import { MailboxModel } from "./mailbox-model.js";
import { summaryOf } from "./totals.js";
import { inSteps } from "./view-loading.js";
import { Views, type ViewsOptions } from "./views.js";

/**
 * All mailboxes of this node: a catalog in memory, and one nedb datastore each, opened when it is
 * used (`views.ts`). Operations take effect in memory at once and reach the files in batches.
 */
export class Mailboxes {
  readonly #byName = new Map<string, Mailbox>();
  /** Since the last checkpoint. */
  readonly #changed = new Set<Mailbox>();
  readonly #views: Views;
  /** Replay: what is in the view files may be ahead of the catalog. */
  replaying = false;

  constructor(private readonly options: ViewsOptions) {
    this.#views = new Views(options, (mailbox) => this.#changed.add(mailbox));
  }

  get size(): number {
    return this.#byName.size;
  }

  get operationsWaiting(): number {
    return this.#views.operationsWaiting;
  }

  get isCrowded(): boolean {
    return this.#views.isCrowded;
  }

  /** Why the last flush failed; undefined when it did not. */
  get trouble(): unknown {
    return this.#views.trouble;
  }

  get openViews(): Views["open"] {
    return this.#views.open;
  }

  names(): MailboxName[] {
    return [...this.#byName.values()].map(({ name }) => name);
  }

  has(name: MailboxName): boolean {
    const mailbox = this.#byName.get(name);
    return mailbox !== undefined && !isEmpty(mailbox);
  }

  *catalog(): Iterable<CatalogEntry> {
    for (const mailbox of this.#byName.values()) {
      if (isEmpty(mailbox)) continue;
      const pending = !mailbox.exact || mailbox.flying + mailbox.pending.length > 0;
      yield { mailbox: mailbox.name, pending, ...summaryOf(totalsOf(mailbox)) };
    }
  }

  isFlying(name: MailboxName): boolean {
    return (this.#byName.get(name)?.flying ?? 0) > 0;
  }

  epochOf(name: MailboxName): number {
    return this.#byName.get(name)?.epoch ?? 0;
  }

  /** Announces an operation; `settle` or `refuse` must follow. Returns the epoch it belongs to. */
  begin(name: MailboxName, kind: MailboxOperation["kind"]): number {
    const mailbox = this.#named(name);
    mailbox.flying += 1;
    if (kind === "DropMailbox") mailbox.nextEpoch += 1;
    return mailbox.nextEpoch;
  }

  /** Everything queued behind a refused write is refused too, so no higher epoch is in use. */
  refuse(name: MailboxName): void {
    const mailbox = this.#named(name);
    mailbox.flying -= 1;
    mailbox.nextEpoch = mailbox.epoch;
    if (isEmpty(mailbox) && mailbox.epoch === 0) this.#byName.delete(name);
  }

  /** The announced operation is durable. */
  settle(operation: MailboxOperation): void {
    this.#named(operation.mailbox).flying -= 1;
    this.apply(operation);
  }

  /** Takes a durable operation into account: a new one, or one found in the journal. */
  apply(operation: MailboxOperation): void {
    const mailbox = this.#named(operation.mailbox);
    if (operation.epoch < mailbox.epoch) return;
    if (this.replaying) mailbox.exact = false;
    if (operation.epoch > mailbox.epoch) this.#startEpoch(mailbox, operation.epoch);
    this.#changed.add(mailbox);
    if (operation.kind !== "DropMailbox") this.#views.apply(mailbox, operation);
  }

  #startEpoch(mailbox: Mailbox, epoch: number): void {
    this.#views.forget(mailbox);
    mailbox.epoch = epoch;
    mailbox.nextEpoch = Math.max(mailbox.nextEpoch, epoch);
    mailbox.exact = !this.replaying;
  }

  #named(name: MailboxName): Mailbox {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const made = newMailbox(name);
    if (this.replaying) made.exact = false;
    this.#byName.set(name, made);
    return made;
  }

  /** All of a mailbox, every durable operation applied. */
  async contents(name: MailboxName): Promise<MailboxContents> {
    // Should the view be closed or replaced meanwhile, only the time for this was lost.
    const steps = await this.withModel(name, (model) => model.prepare());
    await inSteps(this.options.system, steps);
    return this.withModel(name, (model) => model.contents());
  }

  async summary(name: MailboxName): Promise<MailboxSummary> {
    return this.withModel(name, (model) => summaryOf(model.totals));
  }

  /** Calls `use` with the mailbox's model, synchronously after it is up to date. */
  async withModel<T>(name: MailboxName, use: (model: MailboxModel) => T): Promise<T> {
    const mailbox = this.#byName.get(name);
    if (mailbox === undefined) return use(new MailboxModel(this.options.limits));
    return this.#views.use(mailbox, use);
  }

  /** To be called now and then. */
  maintain(): void {
    this.#views.maintain();
  }

  /** Waits until the flusher has caught up with the writers, or cannot. */
  room(): Promise<void> {
    return this.#views.room();
  }

  /** Writes everything that is waiting now and makes it survive a power cut. */
  flushAll(): Promise<void> {
    return this.#views.flushAll();
  }

  /** What the catalog view has to be told, since the last call. */
  takeChanged(): { key: string; text: string }[] {
    const taken = [...this.#changed];
    this.#changed.clear();
    // Their totals will change without a further operation.
    for (const mailbox of taken) if (mailbox.pending.length > 0) this.#changed.add(mailbox);
    return taken.map((mailbox) => ({ key: mailbox.name, text: toCatalogText(mailbox) }));
  }

  markChanged(names: Iterable<string>): void {
    for (const name of names) {
      const mailbox = this.#byName.get(name);
      if (mailbox !== undefined) this.#changed.add(mailbox);
    }
  }

  loadCatalog(key: string, text: string): void {
    this.#byName.set(key, fromCatalogText(key as MailboxName, text));
  }

  close(): Promise<void> {
    return this.#views.close();
  }
}
