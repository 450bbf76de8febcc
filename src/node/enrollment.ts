/**
 * Ways into a ring for those who have no certificate of it yet. On one machine the permissions of
 * files decide: who may read a member's secrets directory is in. From another machine it takes a
 * join token, or a copy of such a directory.
 *
 * What a member says about itself is not believed. What is read because it said so is never sent
 * anywhere, and it counts only if the member then proves that it has a certificate of that CA.
 */
import { type Described, describeMember, EnrollError, redeemToken } from "../rpc/index.js";
import {
  fingerprintOf,
  type JoinToken,
  type Pair,
  parseJoinToken,
  readCa,
  readCredentials,
  type RingCredentials,
  SecretError,
} from "../secrets/index.js";
import { AdminError } from "../shared/admin.js";
import type { Address } from "../shared/ids.js";
import { NodeStartError } from "./identity.js";

/** In whose name the command line speaks to a member. @throws AdminError */
export async function credentialsFor(addr: string, folder?: string): Promise<RingCredentials> {
  try {
    if (folder !== undefined) return await givenCredentials(folder);
    const { secretsFolder } = await describeMember(addr);
    if (secretsFolder === undefined) throw new EnrollError("refused", elsewhere(addr));
    return await givenCredentials(secretsFolder);
  } catch (error) {
    if (error instanceof SecretError) throw new AdminError("refused", error.message);
    if (!(error instanceof EnrollError)) throw error;
    const code = error.kind === "unreachable" ? "unavailable" : "refused";
    throw new AdminError(code, error.message);
  }
}

const elsewhere = (addr: string): string =>
  `${addr} is on another machine: run the command there, or name a copy of its secrets ` +
  "directory with --credentials or RINGPOST_CREDENTIALS";

/** @throws SecretError */
async function givenCredentials(folder: string): Promise<RingCredentials> {
  const credentials = await readCredentials(folder);
  if (credentials !== undefined) return credentials;
  throw new SecretError(`${folder} has no member.crt: it is no secrets directory of a member`);
}

export interface JoinOptions {
  readonly entries: readonly Address[];
  /** Identity of the joiner's data. */
  readonly uuid: string;
  readonly token?: string | undefined;
  /** A secrets directory of the ring, in place of a token. */
  readonly credentials?: string | undefined;
  /** The CA that an earlier try has got: a token is good once, and need not be good twice. */
  readonly known?: Pair | undefined;
  /** How long to wait for the first entry to answer, and how. */
  readonly giveUpMs: number;
  readonly pause: () => Promise<void>;
  readonly nowMs: () => number;
}

/**
 * The CA of the ring behind the entries, with its key.
 * @throws NodeStartError, SecretError
 */
export async function caForJoining(options: JoinOptions): Promise<Pair> {
  const { token: tokenText, credentials, known } = options;
  const token = tokenText === undefined ? undefined : parseJoinToken(tokenText);
  if (tokenText !== undefined && token === undefined) {
    throw new NodeStartError("the token is not what chord token printed; copy all of it");
  }
  const { addr, described } = await firstAnswer(options);
  if (known !== undefined && isSameCa(known.certPem, described.caPem)) return known;
  if (token !== undefined) return await caForToken(addr, described, { token, uuid: options.uuid });
  const folder = credentials ?? described.secretsFolder;
  if (folder === undefined) {
    throw new NodeStartError(
      `${addr} is on another machine: run chord token there, and start this member with --token`,
    );
  }
  return await caFromFiles(addr, described, folder);
}

/** The first entry that answers as a member; they may be starting as well. */
async function firstAnswer({
  entries,
  giveUpMs,
  pause,
  nowMs,
}: JoinOptions): Promise<{ readonly addr: Address; readonly described: Described }> {
  const endMs = nowMs() + giveUpMs;
  for (;;) {
    let last: EnrollError | undefined;
    for (const addr of entries) {
      try {
        return { addr, described: await describeMember(addr) };
      } catch (error) {
        if (!(error instanceof EnrollError)) throw error;
        if (error.kind === "refused") throw new NodeStartError(error.message);
        last = error;
      }
    }
    if (nowMs() > endMs) {
      const text = last?.message ?? "there is nobody to ask";
      throw new NodeStartError(`${text}; start a member there, or correct --entry`);
    }
    await pause();
  }
}

async function caForToken(
  addr: Address,
  { caPem }: Described,
  { token, uuid }: { readonly token: JoinToken; readonly uuid: string },
): Promise<Pair> {
  const pinned = fingerprintOf(caPem);
  if (pinned === undefined || !pinned.equals(token.caFingerprint)) {
    throw new NodeStartError(
      `${addr} is not of the ring that the token is for: correct --entry, or get a token there`,
    );
  }
  try {
    const { caKeyPem } = await redeemToken(addr, { caPem, secret: token.secret, uuid });
    return { certPem: caPem, keyPem: caKeyPem };
  } catch (error) {
    if (error instanceof EnrollError) throw new NodeStartError(error.message);
    throw error;
  }
}

async function caFromFiles(addr: Address, { caPem }: Described, folder: string): Promise<Pair> {
  const ca = await readCa(folder);
  if (ca === undefined) throw new NodeStartError(`${folder} has no ca.crt and ca.key of a ring`);
  if (isSameCa(ca.certPem, caPem)) return ca;
  throw new NodeStartError(`${addr} is not of the ring whose secrets are in ${folder}`);
}

function isSameCa(a: string, b: string): boolean {
  const [one, other] = [fingerprintOf(a), fingerprintOf(b)];
  return one !== undefined && other !== undefined && one.equals(other);
}
