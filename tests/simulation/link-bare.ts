/** A link by itself, on simulated time: what it submits goes where the test wants it. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Journal } from "../../src/sdk/journal/journal.js";
import type { JournalFiles } from "../../src/sdk/journal/ports.js";
import { createLink } from "../../src/sdk/link/link.js";
import type { Link, LinkOptions, Outgoing, Submission } from "../../src/sdk/link/ports.js";
import type { SimulatedTime } from "./link-clock.js";

export const ring = "ring@ring.test";

export interface BareOptions {
  readonly user: string;
  readonly time: SimulatedTime;
  /** Outlive the link: another on them is the next process. */
  readonly files: JournalFiles;
  readonly submit: (outgoing: Outgoing) => Promise<Submission>;
  readonly link?: Partial<LinkOptions>;
  readonly compactFromOctets?: number;
}

export async function bareLink(options: BareOptions): Promise<{ link: Link; journal: Journal }> {
  const { user, time, files, submit, compactFromOctets } = options;
  const journal = await Journal.open(
    { directory: `/${user}`, user },
    {
      ...{ files, nowMs: () => time.nowMs(), dice: randomBytes },
      lock: () => Promise.resolve({ release: () => Promise.resolve() }),
      newKey: () =>
        generateKeyPairSync("ed25519")
          .privateKey.export({ format: "der", type: "pkcs8" })
          .toString("base64"),
      ...(compactFromOctets !== undefined && { compactFromOctets }),
    },
  );
  const link = createLink(
    journal,
    {
      ...{ clock: time, dice: randomBytes, carrier: { submit } },
      ...{ ready: () => undefined, receipt: () => undefined, failed: () => undefined },
      ...{ keyVerdict: () => Promise.resolve("theirs"), deadLetter: () => undefined },
    },
    { user, ring, pollMs: () => 1_000, ...options.link },
  );
  return { link, journal };
}
