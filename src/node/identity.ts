/** What the data directory says of who this node is, held against the options. */
import type { NodeConfig } from "../config/index.js";
import type { Store } from "../replication/ports.js";
import type { Roster } from "../replication/roster.js";
import { ringIdOf } from "../ring/identifier.js";
import type { RingId } from "../shared/ids.js";

/** The user has to change something; the message says what, in one line. */
export class NodeStartError extends Error {
  override readonly name = "NodeStartError";
}

const identityKey = "node";

/** The id of this data, or the configured one for new data. @throws NodeStartError */
export function ownId(config: NodeConfig, store: Store): RingId {
  const stored = store.local(identityKey) as { id: string; bits: number } | undefined;
  const wanted = config.id ?? ringIdOf(config.addr, config.bits);
  if (!stored) return wanted;
  if (stored.bits !== config.bits) {
    throw new NodeStartError(
      `the data in ${config.dataDir} is of a ring with --bits ${stored.bits}; start with the same, or with another --data`,
    );
  }
  if (config.id !== undefined && stored.id !== config.id.toString()) {
    throw new NodeStartError(
      `the data in ${config.dataDir} belongs to --id ${stored.id}; start with the same, or with another --data`,
    );
  }
  return BigInt(stored.id) as RingId;
}

/** To be called when the ring has taken the node in; a refused try leaves no trace. */
export async function keepId(id: RingId, bits: number, store: Store): Promise<void> {
  await store.write([{ kind: "PutLocal", key: identityKey, value: { id: id.toString(), bits } }]);
}

/** The data knows its ring. @throws NodeStartError */
export function refuseOtherRing(config: NodeConfig, roster: Roster): void {
  for (const key of ["bits", "replicas", "domain"] as const) {
    if (roster.ring[key] === config[key]) continue;
    throw new NodeStartError(
      `the data in ${config.dataDir} is of a ring with --${key} ${roster.ring[key]}; start with the same`,
    );
  }
}
