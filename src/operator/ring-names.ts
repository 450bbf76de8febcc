/** Which names there are in the ring: every member is asked for the registers that it keeps. */
import { nameOfRegister, type NameState, stateOf } from "../mailbox/names.js";
import { compareBallots } from "../replication/ballot.js";
import type { Replication } from "../replication/replication.js";
import { AdminError } from "../shared/admin.js";
import type { MailboxName } from "../shared/ids.js";
import type { RegisterState } from "../shared/operation.js";

export interface RingNames {
  readonly names: ReadonlyMap<MailboxName, NameState>;
  /** False: so many members were silent that names may be missing. */
  readonly complete: boolean;
}

/** All accounts and aliases, by name. */
export async function ringNames(replication: Replication): Promise<RingNames> {
  const newest = new Map<MailboxName, RegisterState>();
  let silent = 0;
  await Promise.all(
    replication.roster.members.map(async (member) => {
      try {
        for (let after = "", more = true; more; ) {
          const page = await replication.peers.call(member, "accounts", { after });
          for (const { register, state } of page.registers) {
            const name = nameOfRegister(register);
            const known = name && newest.get(name);
            if (!name || (known && compareBallots(state.accepted, known.accepted) <= 0)) continue;
            newest.set(name, state);
          }
          after = page.registers.at(-1)?.register ?? "";
          more = page.more;
        }
      } catch {
        silent += 1;
      }
    }),
  );
  const names = [...newest]
    .map(([name, { value }]) => [name, stateOf(value)] as const)
    .filter(([, { kind }]) => kind !== "none")
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return { names: new Map(names), complete: silent <= replication.roster.ring.replicas / 2 };
}

/** @throws AdminError */
export function undecided(what: string): never {
  throw new AdminError(
    "unavailable",
    `no majority of the members that keep ${what} answers; nothing is certain, try again`,
  );
}
