/** How commands reach members: in the name of one, by its certificate. */
import { credentialsFor } from "../node/enrollment.js";
import { createAdminCaller } from "../rpc/index.js";
import type { AdminCaller } from "../shared/admin.js";

export interface CallerOptions {
  /** A secrets directory; absent: that of the member asked, if it is here. */
  readonly credentials?: string | undefined;
  readonly deadlineMs?: number;
}

/**
 * Finds the credentials at the first member that is asked, and shows them to the others too, which
 * may be on other machines.
 */
export function memberCaller({ credentials, deadlineMs }: CallerOptions = {}): AdminCaller {
  let found: ReturnType<typeof credentialsFor> | undefined;
  return createAdminCaller({
    ...(deadlineMs !== undefined && { deadlineMs }),
    credentials: (addr) => {
      found ??= credentialsFor(addr, credentials).catch((error: unknown) => {
        // That member may be down; the next one is asked anew.
        found = undefined;
        throw error;
      });
      return found;
    },
  });
}
