/**
 * Makes certificates (X.509, RFC 5280): ECDSA on P-256, which every TLS library takes. The library
 * is loaded when it is needed: a member makes its certificates once.
 */
import { KeyObject, randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import type { Extension, X509Certificate } from "@peculiar/x509";

/** A certificate and its private key, PEM. */
export interface Pair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** The name of a member in its certificate (RFC 9562 §4). */
export const memberUri = (uuid: string): string => `urn:uuid:${uuid}`;

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/**
 * They do not run out, and members whose clocks are wrong by years must go on talking. The end is
 * how one says "never" (RFC 5280 §4.1.2.5).
 */
const validity = {
  notBefore: new Date(Date.UTC(2000, 0, 1)),
  notAfter: new Date(Date.UTC(9999, 11, 31, 23, 59, 59)),
} as const;

/** The authority that a ring's members have in common. Its name is its own among all rings. */
export async function makeClusterCa(): Promise<Pair> {
  const x509 = await library();
  const keys = await makeKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    name: `CN=Ringpost ring ${randomBytes(8).toString("hex")}`,
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pairOf(cert, keys.privateKey);
}

/** What a member shows to the others, on either end of a connection. */
export async function makeMemberCertificate(ca: Pair, uuid: string): Promise<Pair> {
  const x509 = await library();
  const keys = await makeKeys();
  const issuer = new x509.X509Certificate(ca.certPem);
  const cert = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject: `CN=Ringpost member ${uuid}`,
    issuer: issuer.subject,
    signingAlgorithm: algorithm,
    signingKey: await importKey(ca.keyPem),
    publicKey: keys.publicKey,
    extensions: [
      ...leafExtensions(x509, ["serverAuth", "clientAuth"]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: memberUri(uuid) }]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return pairOf(cert, keys.privateKey);
}

/** A certificate that nobody has signed, for the mail listeners of a ring that was given none. */
export async function makeListenerCertificate(names: readonly string[]): Promise<Pair> {
  const x509 = await library();
  const keys = await makeKeys();
  const unique = [...new Set(names)];
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    // What names it are the alternative names (RFC 9525 §2); the subject is for people.
    name: "CN=Ringpost, self-signed",
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      ...leafExtensions(x509, ["serverAuth"]),
      new x509.SubjectAlternativeNameExtension(
        unique.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
      ),
    ],
  });
  return pairOf(cert, keys.privateKey);
}

type Library = Awaited<ReturnType<typeof library>>;

const library = () => import("@peculiar/x509");

function leafExtensions(
  x509: Library,
  usages: readonly ("serverAuth" | "clientAuth")[],
): Extension[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(usages.map((usage) => x509.ExtendedKeyUsage[usage])),
  ];
}

async function makeKeys() {
  return await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function importKey(pem: string) {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  return await webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
}

/** Random, positive and not longer than 20 octets (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const octets = randomBytes(16);
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return octets.toString("hex");
}

function pairOf(cert: X509Certificate, key: webcrypto.CryptoKey): Pair {
  const keyPem = KeyObject.from(key).export({ type: "pkcs8", format: "pem" }).toString();
  return { certPem: `${cert.toString("pem")}\n`, keyPem };
}
