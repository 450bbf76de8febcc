/**
 * Adapter, part 3: TLS, at once or after STARTTLS (RFC 3207, RFC 8314 §3.3). smtp-server (3.21.6)
 * would take one certificate when it starts, and keep the listeners of the plain socket; ours asks
 * for the certificate at every handshake, and knows at every moment which socket it talks to.
 */
import type net from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";
import { SmtpParser } from "./parser.js";
import { replies } from "./replies.js";
import { ReplyingConnection } from "./replying-connection.js";
import type { TlsFacts } from "./trace.js";

/** RFC 8996: nothing older, whatever a certificate's context allows. */
const versions = new Set(["TLSv1.2", "TLSv1.3"]);

export abstract class TlsConnection extends ReplyingConnection {
  protected tls: TlsFacts | undefined;
  protected clientEnded = false;

  protected get parser(): SmtpParser {
    if (this._parser instanceof SmtpParser) return this._parser;
    throw new Error("the connection has no parser any more");
  }

  /** Octets of the client that are here, encrypted or not as it may be. */
  protected get octetsHere(): number {
    const parser = this._parser instanceof SmtpParser ? this._parser.receivedOctets : 0;
    return parser + this._socket.readableLength;
  }

  protected get handshaking(): boolean {
    return this._upgrading;
  }

  /** The end, at once. Never the plain socket beneath TLS, which would not survive that. */
  cut(): void {
    this._socket.destroy();
  }

  /** Reports the socket that stands on top of `plain` from now on. */
  protected abstract wrapped(plain: net.Socket, secure: TLSSocket): void;

  override _setListeners(callback: () => void): void {
    this.#listenTo(this._socket);
    this._socket.pipe(this.parser);
    callback();
  }

  #listenTo(socket: net.Socket): void {
    // Of two sockets, one on the other, the upper one tells.
    const current = (run: () => void) => () => {
      if (socket === this._socket) run();
    };
    socket.on(
      "end",
      current(() => this.#noteEnd()),
    );
    socket.on("error", (error) => this._onError(error));
    socket.on("close", (hadError) => current(() => this._onCloseEvent(hadError))());
  }

  #noteEnd(): void {
    this.clientEnded = true;
    if (this.handshaking) this.cut();
  }

  /**
   * RFC 3207 §4.2. Whatever the client has sent before it could read the 220 was not encrypted: it
   * is dropped, wherever it got to, or somebody in between could put it there.
   */
  protected startTls(context: SecureContext, done: () => void): void {
    const plain = this._socket;
    plain.unpipe(this.parser);
    this.parser.isClosed = true;
    let dropped: unknown;
    do dropped = plain.read();
    while (dropped !== null);
    this.reply(replies.startTls);
    this.flush();
    // Behind all that was written before, since the handle of the socket changes hands.
    plain.write("", () => this.#handshake(plain, context, done));
    this._upgrading = true;
  }

  /** TLS from the first octet. */
  protected tlsFirst(context: SecureContext, done: () => void): void {
    const plain = this._socket;
    plain.unpipe(this.parser);
    this._upgrading = true;
    this.#handshake(plain, context, done);
  }

  #handshake(plain: net.Socket, secureContext: SecureContext, done: () => void): void {
    if (this._closing || this._closed || plain.destroyed) return this.cut();
    const secure = new TLSSocket(plain, { isServer: true, secureContext });
    this.wrapped(plain, secure);
    this._socket = secure;
    this.#listenTo(secure);
    // Renegotiation, where a client of TLS 1.2 has it, says `secure` again.
    secure.once("secure", () => this.#secured(secure, done));
  }

  #secured(secure: TLSSocket, done: () => void): void {
    const version = secure.getProtocol();
    if (this._closing || this._closed || version === null || !versions.has(version)) {
      return this.cut();
    }
    const { standardName } = secure.getCipher();
    this.tls = { version, cipher: standardName };
    const before = this.parser;
    const parser = this._createParser();
    parser.consumedOctets = before.receivedOctets;
    this._parser = parser;
    this._upgrading = false;
    this.session.secure = this.secure = true;
    this.hostNameAppearsAs = false;
    this.openingCommand = false;
    this._resetSession();
    secure.pipe(parser);
    done();
  }

  abstract override _createParser(): SmtpParser;
}
