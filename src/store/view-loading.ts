/** From a view file to a model, or from the journal when the file cannot be trusted. */
import { dirname } from "node:path";
import type { MailboxName } from "../shared/ids.js";
import type { Log } from "../shared/log.js";
import {
  applyTo,
  type Mailbox,
  type OpenView,
  type PendingOperation,
  viewPath,
} from "./mailbox.js";
import { MailboxModel } from "./mailbox-model.js";
import { sameTotals } from "./totals.js";
import type { StoreLimits } from "./options.js";
import type { StoreSystem } from "./system.js";
import { marked, type ViewDocument, type ViewFile } from "./view-file.js";

export interface ViewLoadingOptions {
  /** The `views` directory. */
  readonly directory: string;
  readonly limits: StoreLimits;
  readonly log: Log;
  readonly system: StoreSystem;
  /** All durable operations on a mailbox, from the journal: for a view that is damaged. */
  readonly recover: (mailbox: MailboxName) => Promise<readonly PendingOperation[]>;
}

/** Others get a turn after each step. */
export async function inSteps(
  system: Pick<StoreSystem, "nextTurn">,
  steps: Iterator<void>,
): Promise<void> {
  while (steps.next().done !== true) {
    await new Promise<void>((resolve) => system.nextTurn(resolve));
  }
}

export class ViewLoader {
  constructor(
    private readonly options: ViewLoadingOptions,
    /** The file has more than is known to be on disk. */
    private readonly onUnsynced: (path: string, mailbox: Mailbox) => void,
  ) {}

  async load(mailbox: Mailbox): Promise<OpenView> {
    const file = this.options.system.views.at(viewPath(this.options.directory, mailbox));
    const model = new MailboxModel(this.options.limits);
    const { epoch } = mailbox;
    try {
      const { documents, damaged, soundOctets } = await file.load();
      await inSteps(this.options.system, model.load(documents));
      // After a crash the file may have more than the catalog says, but not less.
      const whole = soundOctets >= mailbox.syncedOctets;
      const right = !mailbox.exact || sameTotals(model.totals, mailbox.totals);
      if (!damaged && whole && right) {
        // What a killed process wrote is read here, and may be in the page cache only.
        if (!mailbox.exact) this.onUnsynced(file.path, mailbox);
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

  /** Puts a whole file in the place of a damaged one, durably, or leaves that as it is. */
  async replaceFile(view: OpenView, all: { added: ViewDocument[]; removed: string[] }) {
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
}
