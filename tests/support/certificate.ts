/** Certificates for tests, made by the openssl command. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { afterAll } from "vitest";
import type { TlsContexts } from "../../src/shared/tls.js";

export interface TestCertificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

/** Self-signed, for `localhost` and 127.0.0.1, valid for a day; gone after the test file. */
export function makeCertificate(name = "localhost"): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-cert-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const [certPath, keyPath] = [join(folder, "test.crt"), join(folder, "test.key")];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
  const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const files = ["-keyout", keyPath, "-out", certPath];
  execFileSync("openssl", ["req", "-x509", ...kind, ...names, ...files], { stdio: "pipe" });
  const [cert, key] = [readFileSync(certPath, "utf8"), readFileSync(keyPath, "utf8")];
  return { certPath, keyPath, cert, key };
}

export function contextsOf({ cert, key }: TestCertificate): TlsContexts {
  const context = createSecureContext({ cert, key });
  return { current: () => context };
}
