/**
 * Adapter, part 2: how replies go out. smtp-server (3.21.6) looks an enhanced status code up by
 * the reply code alone (552 is always 5.2.2), sends nothing to a client that has ended its side,
 * and makes a packet of each reply. Ours carry their code, and are sent as long as there is a way.
 */
import { SMTPConnection } from "smtp-server/lib/smtp-connection.js";
import { SmtpParser } from "./parser.js";
import { formatReply, type Reply } from "./replies.js";

export abstract class ReplyingConnection extends SMTPConnection {
  /** True when we closed the connection for the client's fault or our end. */
  protected gaveUp = false;
  /** Replies that wait for the others of their segment. */
  #unsent = "";

  /** True when the kernel has all that we had to say. */
  protected get flushed(): boolean {
    return this.#unsent === "" && this._socket.writableLength === 0;
  }

  protected reply({ code, status = "", text }: Reply): void {
    this.#write(code, formatReply(code, status, [text]));
  }

  /** The library's own replies come through here: the greeting, a few errors. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    const lines = Array.isArray(data) ? data : [data ?? ""];
    if (code >= 400) this.session.error = lines.join(" ");
    this.#write(code, formatReply(code, this._getEnhancedStatusCode(code, context), lines));
  }

  /** Its 421s are for bad behaviour; those for timeouts and shutdown are ours. */
  override _getEnhancedStatusCode(code: number, context?: string | false): string {
    if (code === 421) return "4.7.0";
    return super._getEnhancedStatusCode(code, context);
  }

  override close(): void {
    this.flush();
    super.close();
  }

  /** Called with the code of every reply. */
  protected abstract replied(code: number): void;

  /** RFC 2920 §3.2: the replies to commands that came in one segment go out together. */
  #write(code: number, reply: string): void {
    this.replied(code);
    const more = this._parser instanceof SmtpParser && this._parser.hasInput;
    // Nobody waits longer than a turn, whatever the rest of the segment takes.
    if (more && this.#unsent === "") setImmediate(() => this.flush());
    this.#unsent += reply;
    if (!more) this.flush();
    if (code !== 421) return;
    this.gaveUp = true;
    this.close();
  }

  protected flush(): void {
    const unsent = this.#unsent;
    this.#unsent = "";
    // While TLS is being agreed on, a reply would be an octet too many for both sides.
    if (this._upgrading) return;
    // A client that has ended its side may still read (RFC 9293 §3.6).
    if (unsent !== "" && this._socket.writable) this._socket.write(unsent);
  }
}
