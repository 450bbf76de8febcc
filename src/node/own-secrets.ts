/** The secrets that a member starts with: read, made, or got from the ring that it joins. */
import type { NodeConfig } from "../config/index.js";
import type { Clock, Store } from "../replication/ports.js";
import {
  adoptRing,
  foundRing,
  ListenerTls,
  readCa,
  readCredentials,
  readSecret,
  type RingCredentials,
  SecretError,
  secretsFolder,
  selfSignedPaths,
} from "../secrets/index.js";
import type { Log } from "../shared/log.js";
import { caForJoining } from "./enrollment.js";
import { NodeStartError } from "./identity.js";

export interface OwnSecrets {
  readonly folder: string;
  readonly credentials: RingCredentials;
  /** For the mail listeners. */
  readonly tls: ListenerTls;
  /** Of the smart host, when one is set that wants it. */
  readonly relayPassword: string | undefined;
}

interface Surroundings {
  readonly store: Store & { readonly identity: string };
  readonly clock: Clock;
  readonly log: Log;
}

const giveUpMs = 10_000;
const pauseMs = 200;

/** @throws NodeStartError, SecretError */
export async function openSecrets(
  config: NodeConfig,
  surroundings: Surroundings,
): Promise<OwnSecrets> {
  const folder = secretsFolder(config.dataDir);
  // First what is wrong here, then what needs the others.
  const tls = await listenerTls(config, folder, surroundings.log);
  try {
    const relayPassword = await relayPasswordOf(config);
    const credentials = await ringCredentials(config, folder, surroundings);
    return { folder, tls, credentials, relayPassword };
  } catch (error) {
    tls.close();
    throw error;
  }
}

async function ringCredentials(
  config: NodeConfig,
  folder: string,
  { store, clock }: Surroundings,
): Promise<RingCredentials> {
  const uuid = store.identity;
  if (store.local("roster") !== undefined) {
    const own = await readCredentials(folder, uuid);
    if (own !== undefined) return own;
    throw new NodeStartError(
      `the data in ${config.dataDir} is a member's, but ${folder} has no certificate of it; ` +
        "restore that directory, or join anew with another --data",
    );
  }
  // Nothing was promised to any ring yet: what a start that failed has left may be replaced.
  if (config.entries.length === 0) return await foundRing(folder, uuid);
  const ca = await caForJoining({
    entries: config.entries,
    uuid,
    token: config.token,
    credentials: config.credentialsDir,
    known: await readCa(folder),
    giveUpMs,
    pause: () => clock.sleep(pauseMs),
    nowMs: () => clock.monotonicMs(),
  });
  return await adoptRing(folder, ca, uuid);
}

async function listenerTls(config: NodeConfig, folder: string, log: Log): Promise<ListenerTls> {
  const { hostName, domain, ring } = config;
  const names = [hostName, domain, "localhost", ring.host];
  const paths = config.tls ?? (await selfSignedPaths(folder, names));
  return await ListenerTls.open({ ...paths, log });
}

/** One line. @throws SecretError */
async function relayPasswordOf({ relay }: NodeConfig): Promise<string | undefined> {
  if (relay?.login === undefined) return undefined;
  const { passwordPath: path } = relay.login;
  const text = await readSecret(path, { maybeOfRoot: true });
  if (text === undefined) throw new SecretError(`${path} (relay-password-file) is not there`);
  const password = text.replace(/\r?\n$/, "");
  if (password !== "" && !/\p{Cc}/u.test(password)) return password;
  throw new SecretError(`${path} must hold the relay's password on one line, and nothing else`);
}
