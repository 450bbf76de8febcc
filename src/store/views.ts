/** The view files of mailboxes: opened when used, written in batches, few open at a time. */
import type { StoredMessage } from "../shared/operation.js";
import {
  applyTo,
  inTurn,
  type Mailbox,
  type OpenView,
  type PendingOperation,
  viewPath,
  waitingOf,
} from "./mailbox.js";
import type { MailboxModel } from "./mailbox-model.js";
import { emptyTotals } from "./totals.js";
import { ViewLoader, type ViewLoadingOptions } from "./view-loading.js";

export interface ViewsOptions extends ViewLoadingOptions {
  /** A live message was ended by a tombstone: its body may be garbage. */
  readonly onRemoved: (message: StoredMessage) => void;
}

export class Views {
  /** Least recently used first. */
  readonly #open = new Set<Mailbox>();
  /** Mailboxes of which something is not in the view file, the longest waiting first. */
  readonly #waiting = new Set<Mailbox>();
  readonly #flushing = new Set<Mailbox>();
  /** View files that have more than is known to be on disk, and whose they are. */
  readonly #unsynced = new Map<string, Mailbox>();
  readonly #background = new Set<Promise<void>>();
  readonly #loader: ViewLoader;
  #operationsWaiting = 0;
  #flusher: Promise<void> | undefined;
  #closed = false;
  /** Why the last flush failed; undefined when it did not. */
  trouble: unknown = undefined;

  /** `onSynced`: more of a mailbox's file is known to be on disk. */
  constructor(
    private readonly options: ViewsOptions,
    private readonly onSynced: (mailbox: Mailbox) => void,
  ) {
    this.#loader = new ViewLoader(options, (path, mailbox) => this.#unsynced.set(path, mailbox));
  }

  get operationsWaiting(): number {
    return this.#operationsWaiting;
  }

  get isCrowded(): boolean {
    return this.#operationsWaiting > this.options.limits.pendingOperationsMax;
  }

  get open(): { readonly views: number; readonly documents: number } {
    let documents = 0;
    for (const mailbox of this.#open) documents += mailbox.view?.model.documents ?? 0;
    return { views: this.#open.size, documents };
  }

  /** Takes a durable operation of the mailbox's epoch. */
  apply(mailbox: Mailbox, operation: PendingOperation): void {
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

  /** Forgets all of the mailbox's epoch, which is over. The old file cannot be taken for the next one's. */
  forget(mailbox: Mailbox): void {
    const before = waitingOf(mailbox);
    const old = this.options.system.views.at(viewPath(this.options.directory, mailbox));
    mailbox.pending = [];
    mailbox.view?.file.close();
    mailbox.view = undefined;
    mailbox.totals = emptyTotals;
    mailbox.syncedOctets = 0;
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

  /** Calls `use` with the mailbox's model, synchronously after it is up to date. */
  async use<T>(mailbox: Mailbox, use: (model: MailboxModel) => T): Promise<T> {
    if (mailbox.view !== undefined) {
      this.#touch(mailbox);
      return use(mailbox.view.model);
    }
    const result = await inTurn(mailbox, async () => use((await this.#view(mailbox)).model));
    await this.#evict();
    return result;
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
      const loaded = await this.#loader.load(mailbox);
      if (mailbox.epoch !== epoch) continue;
      const before = waitingOf(mailbox);
      mailbox.view = loaded;
      for (const operation of mailbox.pending.splice(0)) this.#applyOpen(loaded, operation);
      mailbox.exact = true;
      this.#touch(mailbox);
      this.#countWaiting(mailbox, before);
    }
  }

  /** Closes the least recently used views until the bounds hold. */
  async #evict(): Promise<void> {
    const { openViewsMax, openViewDocumentsMax } = this.options.limits;
    for (const mailbox of [...this.#open]) {
      const { views, documents } = this.open;
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
      if (view.rebuilt) await this.#loader.replaceFile(view, taken);
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
    this.onSynced(mailbox);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#flusher;
    await Promise.all(this.#background);
  }
}
