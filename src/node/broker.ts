/** The broker of a member, wired to its replication and its disk. */
import { sealedForm } from "../ebm/index.js";
import type { Middleware } from "../middleware/middleware.js";
import type { MailboxName } from "../shared/ids.js";
import { Pusher } from "../middleware/broker/pusher.js";
import type { RingKeys } from "../mailbox/ring-keys.js";
import { RingBroker } from "../middleware/broker/broker.js";
import type { Replication } from "../replication/replication.js";
import type { Log } from "../shared/log.js";
import type { DurableStore } from "../store/index.js";
import { spoolFiles } from "../store/spool-files.js";
import { clock, random } from "./system.js";

interface NodeBrokerOptions {
  /** The ring's first domain. */
  readonly domain: string;
  readonly store: DurableStore;
  readonly replication: Replication;
  readonly keys: RingKeys;
  readonly log: Log;
}

export function createNodeBroker(options: NodeBrokerOptions): RingBroker {
  return new RingBroker({
    ...{ ...options, files: spoolFiles, clock, random },
    self: options.store.identity,
    codec: `${sealedForm}/${process.versions["zlib"]}`,
  });
}

/** Sends what is in queues to owners whose accounts are elsewhere. */
export function createPusher(
  broker: RingBroker,
  { answers, directory }: Pick<Middleware, "answers" | "directory">,
  log: Log,
): Pusher {
  const addressOf = async (user: MailboxName): Promise<string | undefined> => {
    const found = await directory.recall(user);
    return found.kind === "entry" ? found.entry.record.addresses[0] : undefined;
  };
  return new Pusher({ broker, answers, addressOf, clock, log });
}
