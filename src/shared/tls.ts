/** What listeners need of certificates; `secrets/` keeps them. */
import type { SecureContext } from "node:tls";

export interface TlsContexts {
  /** For the next handshake. Another one after the certificate changed; live sessions keep theirs. */
  current(): SecureContext;
}
