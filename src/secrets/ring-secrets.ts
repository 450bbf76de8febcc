/**
 * What makes a process a member of a ring, in its secrets directory: the ring's CA with its key,
 * and the member's own certificate and key. Every member has the CA's key, so that each can take
 * others in while the founder is gone for good.
 */
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { makeClusterCa, makeMemberCertificate, memberUri, type Pair } from "./certificates.js";
import { readSecret, SecretError, writeSecret } from "./files.js";

/** How a member, or the command line in its name, proves that it is of the ring. PEM. */
export interface RingCredentials extends Pair {
  readonly caPem: string;
}

/** Of a member, in its data directory. */
export const secretsFolder = (dataDir: string): string => join(dataDir, "secrets");

const names = {
  caCert: "ca.crt",
  caKey: "ca.key",
  cert: "member.crt",
  key: "member.key",
} as const;

/** Founds a ring: makes its CA, and the first member's certificate. */
export async function foundRing(folder: string, uuid: string): Promise<RingCredentials> {
  return await adoptRing(folder, await makeClusterCa(), uuid);
}

/** Makes this member one of the ring whose CA that is. What the folder had before is replaced. */
export async function adoptRing(folder: string, ca: Pair, uuid: string): Promise<RingCredentials> {
  const own = await makeMemberCertificate(ca, uuid);
  // The certificate goes first and comes last: without it the rest counts for nothing.
  await rm(join(folder, names.cert), { force: true });
  await writeSecret(join(folder, names.caCert), ca.certPem);
  await writeSecret(join(folder, names.caKey), ca.keyPem);
  await writeSecret(join(folder, names.key), own.keyPem);
  await writeSecret(join(folder, names.cert), own.certPem);
  return { ...own, caPem: ca.certPem };
}

/**
 * The credentials in a secrets directory; undefined when it has none. `uuid`: the member that they
 * must be of.
 * @throws SecretError when they may be read by others, or do not fit together
 */
export async function readCredentials(
  folder: string,
  uuid?: string,
): Promise<RingCredentials | undefined> {
  const certPem = await readSecret(join(folder, names.cert));
  if (certPem === undefined) return undefined;
  const keyPem = await readSecret(join(folder, names.key));
  const caPem = await readSecret(join(folder, names.caCert));
  if (keyPem === undefined || caPem === undefined) {
    const missing = keyPem === undefined ? names.key : names.caCert;
    throw new SecretError(`${join(folder, missing)} is missing; restore it from a backup`);
  }
  const credentials = { caPem, certPem, keyPem };
  const flaw = flawOf(credentials, uuid);
  if (flaw === undefined) return credentials;
  throw new SecretError(`${join(folder, names.cert)} ${flaw}; restore ${folder} from a backup`);
}

/**
 * The ring's CA with its key, to make certificates with; undefined when the folder has none.
 * @throws SecretError
 */
export async function readCa(folder: string): Promise<Pair | undefined> {
  const certPem = await readSecret(join(folder, names.caCert));
  const keyPem = await readSecret(join(folder, names.caKey));
  if (certPem === undefined || keyPem === undefined) return undefined;
  if (fits({ certPem, keyPem })) return { certPem, keyPem };
  throw new SecretError(`${join(folder, names.caKey)} is not the key of ${names.caCert} beside it`);
}

function flawOf({ caPem, certPem, keyPem }: RingCredentials, uuid?: string): string | undefined {
  const [cert, ca] = [parsed(certPem), parsed(caPem)];
  if (cert === undefined || ca === undefined) return "or the CA's beside it is no certificate";
  if (!isSignedBy(cert, ca)) return "is not signed by the CA beside it";
  if (!fits({ certPem, keyPem })) return "does not fit the key beside it";
  if (uuid !== undefined && cert.subjectAltName !== `URI:${memberUri(uuid)}`) {
    return "is the certificate of another member";
  }
  return undefined;
}

function isSignedBy(cert: X509Certificate, ca: X509Certificate): boolean {
  return cert.checkIssued(ca) && cert.verify(ca.publicKey);
}

/** Whether the key is the certificate's. */
export function fits({ certPem, keyPem }: Pair): boolean {
  try {
    return parsed(certPem)?.checkPrivateKey(createPrivateKey(keyPem)) ?? false;
  } catch {
    return false;
  }
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** SHA-256 of the certificate itself: what a join token pins. Undefined when it is none. */
export function fingerprintOf(certPem: string): Buffer | undefined {
  const cert = parsed(certPem);
  return cert && createHash("sha256").update(cert.raw).digest();
}
