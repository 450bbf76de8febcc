/** The certificate of the mail listeners, read again when it changes. */
import { X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Log } from "../shared/log.js";
import type { TlsContexts } from "../shared/tls.js";
import { makeListenerCertificate, type Pair } from "./certificates.js";
import { readPublic, readSecret, SecretError, writeSecret } from "./files.js";
import { fits } from "./ring-secrets.js";

export interface PairPaths {
  readonly certPath: string;
  readonly keyPath: string;
}

export interface ListenerTlsOptions extends PairPaths {
  readonly log: Log;
  /** How often the files are looked at. */
  readonly pollMs?: number;
}

const pollMsDefault = 2_000;

/**
 * Paths of the certificate that is made for a member which was given none. `names`: host names and
 * IP addresses it is for. A pair that is there is kept, whatever its names.
 * @throws SecretError
 */
export async function selfSignedPaths(
  folder: string,
  names: readonly string[],
): Promise<PairPaths> {
  const paths = { certPath: join(folder, "mail.crt"), keyPath: join(folder, "mail.key") };
  // The certificate is written last: a key alone is of a start that was cut short.
  if ((await readPublic(paths.certPath)) !== undefined) return paths;
  const { certPem, keyPem } = await makeListenerCertificate(names);
  await writeSecret(paths.keyPath, keyPem);
  await writeSecret(paths.certPath, certPem);
  return paths;
}

/** Looks at the files every few seconds; a pair that does not fit is left alone until it does. */
export class ListenerTls implements TlsContexts {
  #context: SecureContext;
  #seen: string;
  #isLooking = false;
  readonly #timer: NodeJS.Timeout;

  private constructor(
    private readonly options: ListenerTlsOptions,
    first: { readonly context: SecureContext; readonly seen: string },
  ) {
    this.#context = first.context;
    this.#seen = first.seen;
    this.#timer = setInterval(() => void this.look(), options.pollMs ?? pollMsDefault);
    this.#timer.unref();
  }

  /** @throws SecretError that names the file and what is wrong with it */
  static async open(options: ListenerTlsOptions): Promise<ListenerTls> {
    const seen = await signatureOf(options);
    return new ListenerTls(options, { context: await contextOf(options), seen });
  }

  current(): SecureContext {
    return this.#context;
  }

  /** Takes over what has changed since; never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const { log, certPath, keyPath } = this.options;
    try {
      // Taken before the files are read: what is written meanwhile makes it differ again.
      const seen = await signatureOf(this.options);
      if (seen === this.#seen) return;
      this.#seen = seen;
      this.#context = await contextOf(this.options);
      log.info({ certPath }, "the listeners have a new certificate");
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const text = "the changed certificate can't be used; the one before it stays";
      log.warn({ certPath, keyPath, reason }, text);
    } finally {
      this.#isLooking = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Differs whenever one of the files was written or replaced; symbolic links are followed. */
async function signatureOf({ certPath, keyPath }: PairPaths): Promise<string> {
  const parts = [certPath, keyPath].map(async (path) => {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    // With the mode: a file that was refused for its mode is looked at again after chmod.
    return stats ? [stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs, stats.mode].join() : "";
  });
  return (await Promise.all(parts)).join(" ");
}

/** @throws SecretError */
async function contextOf({ certPath, keyPath }: PairPaths): Promise<SecureContext> {
  const keyPem = await present(keyPath, readSecret(keyPath, { maybeOfRoot: true }));
  const certPem = await present(certPath, readPublic(certPath));
  return secureContext({ certPem, keyPem }, { certPath, keyPath });
}

async function present(path: string, text: Promise<string | undefined>): Promise<string> {
  const known = await text;
  if (known !== undefined) return known;
  throw new SecretError(`${path}: there is no such file`);
}

/** @throws SecretError */
function secureContext(pair: Pair, { certPath, keyPath }: PairPaths): SecureContext {
  try {
    // The first is the listener's own, those behind it are on the way to its root.
    void new X509Certificate(pair.certPem);
  } catch {
    throw new SecretError(`${certPath} holds no certificate in PEM`);
  }
  if (!fits(pair)) {
    throw new SecretError(`${keyPath} is not the private key (PEM) of ${certPath}`);
  }
  try {
    // RFC 8996: TLS 1.0 and 1.1 must not be used.
    return createSecureContext({ cert: pair.certPem, key: pair.keyPem, minVersion: "TLSv1.2" });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SecretError(`${certPath} and ${keyPath} can't be used: ${reason}`);
  }
}
