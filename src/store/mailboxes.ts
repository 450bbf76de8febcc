import { dirname } from "node:path";
import type { CatalogEntry, MailboxContents, MailboxSummary } from "../replication/ports.js";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import type { StoredMessage } from "../shared/operation.js";
import {
  applyTo,
  fromCatalogText,
  inTurn,
  isEmpty,
  type Mailbox,
  type MailboxOperation,
  newMailbox,
  type OpenView,
  type PendingOperation,
  toCatalogText,
  totalsOf,
  viewPath,
  waitingOf,
} from "./mailbox.js";
import { emptyTotals, MailboxModel, sameTotals, summaryOf } from "./mailbox-model.js";
import type { StoreLimits } from "./options.js";
import type { StoreSystem } from "./system.js";
import { marked, type ViewDocument, type ViewFile } from "./view-file.js";

export interface MailboxesOptions {
  /** The `views` directory. */
  readonly directory: string;
  readonly limits: StoreLimits;
  readonly log: Log;
  readonly system: StoreSystem;
  /** All durable operations on a mailbox, from the journal: for a view that is damaged. */
  readonly recover: (mailbox: MailboxName) => Promise<readonly PendingOperation[]>;
  /** A live message was ended by a tombstone: its body may be garbage. */
  readonly onRemoved: (message: StoredMessage) => void;
}

/**
 * All mailboxes of this node: a catalog in memory, and one nedb datastore each, opened when it is
 * used. Operations take effect in memory at once and reach the files in batches.
 */
export class Mailboxes {
  readonly #byName = new Map<string, Mailbox>();
  /** Open views, least recently used first. */
  readonly #open = new Set<Mailbox>();
  /** Mailboxes of which something is not in the view file, the longest waiting first. */
  readonly #waiting = new Set<Mailbox>();
  /** Since the last checkpoint. */
  readonly #changed = new Set<Mailbox>();
  readonly #flushing = new Set<Mailbox>();
  /** View files that have more than is known to be on disk, and whose they are. */
  readonly #unsynced = new Map<string, Mailbox>();
  readonly #background = new Set<Promise<void>>();
  #operationsWaiting = 0;
  #flusher: Promise<void> | undefined;
  #closed = false;
  /** Replay: what is in the view files may be ahead of the catalog. */
  replaying = false;
  /** Why the last flush failed; undefined when it did not. */
  trouble: unknown = undefined;

  constructor(private readonly options: MailboxesOptions) {}

  get size(): number {
    return this.#byName.size;
  }

  get operationsWaiting(): number {
    return this.#operationsWaiting;
  }

  get isCrowded(): boolean {
    return this.#operationsWaiting > this.options.limits.pendingOperationsMax;
  }

  get openViews(): { readonly views: number; readonly documents: number } {
    let documents = 0;
    for (const mailbox of this.#open) documents += mailbox.view?.model.documents ?? 0;
    return { views: this.#open.size, documents };
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
    if (operation.kind === "DropMailbox") return;
    const before = waitingOf(mailbox);
    if (mailbox.view === undefined) mailbox.pending.push(operation);
    else this.#applyOpen(mailbox.view, operation);
    this.#countWaiting(mailbox, before);
    const { pendingPerMailboxMax, pendingOperationsSoftMax } = this.options.limits;
    const long = waitingOf(mailbox) >= pendingPerMailboxMax;
    if (long || this.#operationsWaiting > pendingOperationsSoftMax) this.#kick();
  }

  #applyOpen(view: OpenView, operation: PendingOperation): void {
    view.usedMs = this.options.system.nowMs();
    for (const ended of applyTo(view.model, operation)) this.options.onRemoved(ended);
  }

  #countWaiting(mailbox: Mailbox, before: number): void {
    const after = waitingOf(mailbox);
    this.#operationsWaiting += after - before;
    if (after === 0) {
      mailbox.waitingSinceMs = undefined;
      this.#waiting.delete(mailbox);
    } else if (before === 0) {
      mailbox.waitingSinceMs = this.options.system.nowMs();
      this.#waiting.add(mailbox);
    }
  }

  /** Forgets everything of the epochs before. The old file cannot be taken for the new one's. */
  #startEpoch(mailbox: Mailbox, epoch: number): void {
    const before = waitingOf(mailbox);
    const old = this.options.system.views.at(viewPath(this.options.directory, mailbox));
    mailbox.epoch = epoch;
    mailbox.nextEpoch = Math.max(mailbox.nextEpoch, epoch);
    mailbox.pending = [];
    mailbox.view?.file.close();
    mailbox.view = undefined;
    mailbox.totals = emptyTotals;
    mailbox.syncedOctets = 0;
    mailbox.exact = !this.replaying;
    this.#open.delete(mailbox);
    this.#countWaiting(mailbox, before);
    this.#inBackground(inTurn(mailbox, () => old.unlink()));
  }

  #inBackground(task: Promise<void>): void {
    const logged = task.catch((error: unknown) => {
      this.options.log.warn({ err: error }, "a dropped mailbox's view could not be deleted");
    });
    this.#background.add(logged);
    void logged.then(() => this.#background.delete(logged)); // Never rejects.
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
    await this.#inSteps(await this.withModel(name, (model) => model.prepare()));
    return this.withModel(name, (model) => model.contents());
  }

  async summary(name: MailboxName): Promise<MailboxSummary> {
    return this.withModel(name, (model) => summaryOf(model.totals));
  }

  /** Calls `use` with the mailbox's model, synchronously after it is up to date. */
  async withModel<T>(name: MailboxName, use: (model: MailboxModel) => T): Promise<T> {
    const mailbox = this.#byName.get(name);
    if (mailbox === undefined) return use(new MailboxModel(this.options.limits));
    if (mailbox.view !== undefined) {
      this.#touch(mailbox);
      return use(mailbox.view.model);
    }
    const result = await inTurn(mailbox, async () => use((await this.#view(mailbox)).model));
    await this.#evict();
    return result;
  }

  /** Others get a turn after each step. */
  async #inSteps(steps: Iterator<void>): Promise<void> {
    while (steps.next().done !== true) {
      await new Promise<void>((resolve) => this.options.system.nextTurn(resolve));
    }
  }

  #touch(mailbox: Mailbox): void {
    if (mailbox.view !== undefined) mailbox.view.usedMs = this.options.system.nowMs();
    this.#open.delete(mailbox);
    this.#open.add(mailbox);
  }

  /** Opens the view; only within the mailbox's turn. */
  async #view(mailbox: Mailbox): Promise<OpenView> {
    for (;;) {
      if (mailbox.view !== undefined) return mailbox.view;
      const { epoch } = mailbox;
      const loaded = await this.#load(mailbox);
      if (mailbox.epoch !== epoch) continue;
      const before = waitingOf(mailbox);
      mailbox.view = loaded;
      for (const operation of mailbox.pending.splice(0)) this.#applyOpen(loaded, operation);
      mailbox.exact = true;
      this.#touch(mailbox);
      this.#countWaiting(mailbox, before);
    }
  }

  async #load(mailbox: Mailbox): Promise<OpenView> {
    const file = this.options.system.views.at(viewPath(this.options.directory, mailbox));
    const model = new MailboxModel(this.options.limits);
    const { epoch } = mailbox;
    try {
      const { documents, damaged, soundOctets } = await file.load();
      await this.#inSteps(model.load(documents));
      // After a crash the file may have more than the catalog says, but not less.
      const whole = soundOctets >= mailbox.syncedOctets;
      const right = !mailbox.exact || sameTotals(model.totals, mailbox.totals);
      if (!damaged && whole && right) {
        // What a killed process wrote is read here, and may be in the page cache only.
        if (!mailbox.exact) this.#unsynced.set(file.path, mailbox);
        return this.#opened(model, file, false);
      }
    } catch (error) {
      this.options.log.warn({ err: error, mailbox: mailbox.name }, "a view cannot be read");
    }
    if (mailbox.epoch !== epoch) return this.#opened(model, file, false);
    this.options.log.warn({ mailbox: mailbox.name }, "a view is damaged: rebuilding it");
    return this.#rebuild(mailbox, file);
  }

  async #rebuild(mailbox: Mailbox, file: ViewFile): Promise<OpenView> {
    const { epoch } = mailbox;
    const operations = await this.options.recover(mailbox.name);
    const model = new MailboxModel(this.options.limits);
    for (const operation of operations) {
      if (operation.epoch === epoch) applyTo(model, operation);
    }
    return this.#opened(model, file, true);
  }

  #opened(model: MailboxModel, file: ViewFile, rebuilt: boolean): OpenView {
    return { model, file, rebuilt, usedMs: this.options.system.nowMs() };
  }

  /** Closes the least recently used views until the bounds hold. */
  async #evict(): Promise<void> {
    const { openViewsMax, openViewDocumentsMax } = this.options.limits;
    for (const mailbox of [...this.#open]) {
      const { views, documents } = this.openViews;
      if (views <= 1 || (views <= openViewsMax && documents <= openViewDocumentsMax)) return;
      try {
        await this.#closeView(mailbox);
      } catch (error) {
        // Reading goes on while the disk is full; what is not written stays open.
        this.options.log.warn({ err: error, mailbox: mailbox.name }, "a view cannot be closed");
      }
    }
  }

  async #closeView(mailbox: Mailbox): Promise<void> {
    await inTurn(mailbox, async () => {
      if (mailbox.view === undefined) return;
      await this.#flushInTurn(mailbox);
      const { view } = mailbox;
      if (view === undefined || view.model.unwritten > 0) return;
      mailbox.totals = view.model.totals;
      mailbox.view = undefined;
      view.file.close();
      this.#open.delete(mailbox);
    });
  }

  async #flushInTurn(mailbox: Mailbox): Promise<void> {
    const view = await this.#view(mailbox);
    const { model, file } = view;
    if (model.unwritten === 0) return;
    const before = waitingOf(mailbox);
    const taken = model.takeUnwritten();
    this.#countWaiting(mailbox, before);
    this.#flushing.add(mailbox);
    this.#unsynced.set(file.path, mailbox);
    try {
      if (view.rebuilt) await this.#replaceFile(view, taken);
      else await file.change(taken.added, taken.removed);
      this.trouble = undefined;
    } catch (error) {
      this.trouble = error;
      // A drop may have replaced the view meanwhile; then there is nothing to keep.
      if (mailbox.view === view) {
        const now = waitingOf(mailbox);
        model.putBack(taken);
        this.#countWaiting(mailbox, now);
      }
      throw error;
    } finally {
      this.#flushing.delete(mailbox);
    }
  }

  /** Puts a whole file in the place of a damaged one, durably, or leaves that as it is. */
  async #replaceFile(view: OpenView, all: { added: ViewDocument[]; removed: string[] }) {
    const { views, viewDisk } = this.options.system;
    const { path } = view.file;
    const made = views.at(`${path}.new`);
    await made.unlink();
    await made.change(marked(all.added), all.removed);
    await made.sync();
    made.close();
    view.file.close();
    if (viewDisk.exists(made.path)) await viewDisk.rename(made.path, path);
    else await view.file.unlink();
    await viewDisk.syncDirectory(dirname(path));
    view.rebuilt = false;
  }

  /** Writes to view files what is due now. Called by a timer, and when much is waiting. */
  #kick(): void {
    if (this.#flusher !== undefined || this.#closed) return;
    this.#flusher = new Promise<void>((resolve) => this.options.system.nextTurn(resolve))
      .then(() => this.#flushDue())
      .catch((error: unknown) => {
        this.options.log.warn({ err: error }, "a view could not be written; trying again later");
      })
      .finally(() => {
        this.#flusher = undefined;
      });
  }

  maintain(): void {
    if (this.#waiting.size > 0 || this.#idle().length > 0) this.#kick();
  }

  /** Memory follows what is used, also when nothing presses. */
  #idle(): Mailbox[] {
    const beforeMs = this.options.system.nowMs() - this.options.limits.closeIdleAfterMs;
    return [...this.#open].filter(({ view }) => (view?.usedMs ?? Infinity) < beforeMs);
  }

  async #flushDue(): Promise<void> {
    for (const mailbox of [...this.#waiting]) {
      if (this.#isDue(mailbox)) await inTurn(mailbox, () => this.#flushInTurn(mailbox));
    }
    for (const mailbox of this.#idle()) await this.#closeView(mailbox);
    await this.#evict();
  }

  #isDue(mailbox: Mailbox): boolean {
    const { limits } = this.options;
    if (waitingOf(mailbox) >= limits.pendingPerMailboxMax) return true;
    // Down to three quarters, so that the next write does not start it again.
    if (this.#operationsWaiting > limits.pendingOperationsSoftMax * 0.75) return true;
    const ageMs = this.options.system.nowMs() - (mailbox.waitingSinceMs ?? Infinity);
    return ageMs > (mailbox.view === undefined ? limits.flushClosedAfterMs : limits.flushAfterMs);
  }

  /** Waits until the flusher has caught up with the writers, or cannot. */
  async room(): Promise<void> {
    while (this.isCrowded && this.trouble === undefined && !this.#closed) {
      this.#kick();
      await this.#flusher;
    }
  }

  /** Writes everything that is waiting now and makes it survive a power cut. */
  async flushAll(): Promise<void> {
    for (const mailbox of new Set([...this.#flushing, ...this.#waiting])) {
      await inTurn(mailbox, () => this.#flushInTurn(mailbox));
      await this.#evict();
    }
    for (const [path, mailbox] of [...this.#unsynced]) {
      this.#unsynced.delete(path);
      try {
        await inTurn(mailbox, () => this.#syncInTurn(mailbox, path));
      } catch (error) {
        this.#unsynced.set(path, mailbox);
        throw error;
      }
    }
  }

  async #syncInTurn(mailbox: Mailbox, path: string): Promise<void> {
    if (mailbox.view?.file.path === path) await mailbox.view.file.tidy();
    const octets = await this.options.system.views.sync(path);
    if (viewPath(this.options.directory, mailbox) !== path) return;
    mailbox.syncedOctets = octets;
    this.#changed.add(mailbox);
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

  async close(): Promise<void> {
    this.#closed = true;
    await this.#flusher;
    await Promise.all(this.#background);
  }
}
