/** The change to TLS: STLS (RFC 2595 §4), or at once (RFC 8314 §3.3). */
import type { Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import type { TlsInfo } from "./maildrop.js";
import type { Waits } from "./waits.js";

/** Puts TLS over a connection of which nothing is waiting to be read. The handshake begins. */
export function overTls(raw: Socket, secureContext: SecureContext): TLSSocket {
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext,
    // Refuses a browser that was led here to speak HTTP; a client without ALPN is served.
    ALPNProtocols: ["pop3"],
  });
  // Node closes by itself when the handshake fails, but not on a broken record behind it.
  socket.on("_tlsError", () => socket.destroy());
  return socket;
}

/** Waits for the handshake; a text says why there was none. Nothing is kept of a failed one. */
export async function handshake(
  socket: TLSSocket,
  waits: Waits,
  deadlineMs: number,
): Promise<TlsInfo | string> {
  let failure: string | undefined;
  const waited = await waits.event((done) => {
    const failed = (why: string) => {
      failure = why;
      done();
    };
    socket.once("secure", done);
    socket.once("_tlsError", (error: Error) => failed(error.message));
    socket.once("end", () => failed("the client ended it"));
  }, deadlineMs);
  if (failure !== undefined) return failure;
  if (waited.kind !== "done") return waited.kind === "late" ? "not done in time" : "disconnected";
  const version = socket.getProtocol() ?? "none";
  // RFC 8996: whatever the context allows, 1.0 and 1.1 protect nothing.
  if (version !== "TLSv1.2" && version !== "TLSv1.3") return `${version} is too old`;
  return { version, cipher: socket.getCipher().name };
}
