/** The certificate of the mail listeners, from the files that the options name. */
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { NodeConfig } from "../config/index.js";
import type { TlsContexts } from "../shared/tls.js";
import { NodeStartError } from "./identity.js";

/** Undefined when none was named. @throws NodeStartError for files that are no certificate and key */
export function configuredTls(tls: NodeConfig["tls"]): TlsContexts | undefined {
  if (tls === undefined) return undefined;
  const { certPath, keyPath } = tls;
  try {
    const [cert, key] = [readFileSync(certPath), readFileSync(keyPath)];
    const context = createSecureContext({ cert, key, minVersion: "TLSv1.2" });
    return { current: () => context };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new NodeStartError(`--tls-cert ${certPath} and --tls-key ${keyPath}: ${why}`);
  }
}
