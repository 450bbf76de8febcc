/** One SMTP connection by nodemailer, kept open: raw mails, replies read to the letter. */
import SMTPConnection, {
  type SMTPConnectionOptions,
  type SMTPConnectionSendInfo,
} from "nodemailer/lib/smtp-connection";
import XOAuth2 from "nodemailer/lib/xoauth2";
import { hostPort } from "../../client/wire.js";
import { TransportError } from "./failure.js";
import { replyOf, type SmtpReply } from "./reply.js";
import type { Patience } from "./servers.js";
import { type TlsPolicy, tlsFor } from "./tls.js";

export interface SmtpRoute {
  /** host:port */
  readonly at: string;
  /** TLS from the first octet. */
  readonly implicitTls: boolean;
  readonly login?:
    | { readonly user: string; readonly token: string }
    | { readonly user: string; readonly password: string };
}

export interface OutgoingMail {
  /** Envelope sender; "" is the null sender. */
  readonly from: string;
  readonly to: readonly string[];
  readonly octets: Buffer;
}

export interface SmtpLineOptions {
  readonly route: SmtpRoute;
  readonly tls: TlsPolicy;
  readonly patience: Patience;
}

interface NodemailerFailure extends Error {
  readonly code?: string;
  readonly responseCode?: number;
  readonly response?: string;
}

export class SmtpLine {
  #failure: TransportError | undefined;
  readonly #connection: SMTPConnection;
  readonly #at: string;
  #fail: (error: TransportError) => void = () => undefined;

  private constructor(connection: SMTPConnection, at: string) {
    this.#connection = connection;
    this.#at = at;
    connection.on("error", (error: NodemailerFailure) => this.#broke(error.message));
    connection.on("end", () => this.#broke("connection closed"));
  }

  /** @throws TransportError; for a login that is refused, SmtpRefused */
  static async open(options: SmtpLineOptions): Promise<SmtpLine> {
    const { route } = options;
    const line = new SmtpLine(new SMTPConnection(connectionOptions(options)), route.at);
    try {
      await line.#call((done) => line.#connection.connect(done));
      if (route.login !== undefined) await line.#login(route.login);
      return line;
    } catch (error) {
      line.close();
      throw error;
    }
  }

  get usable(): boolean {
    return this.#failure === undefined && !this.#connection.destroyed;
  }

  /** The last reply: at the final dot, or to the command that was refused. @throws TransportError */
  async send({ from, to, octets }: OutgoingMail): Promise<SmtpReply> {
    try {
      const info = await this.#call<SMTPConnectionSendInfo>((done) =>
        this.#connection.send({ from, to: [...to], size: octets.length }, octets, done),
      );
      const reply = replyOf(info?.response ?? "");
      const rejected = (info?.rejectedErrors ?? []).map(({ recipient = "", response = "" }) => ({
        ...{ address: recipient, reply: response },
      }));
      return rejected.length === 0 ? reply : { ...reply, rejected };
    } catch (error) {
      if (!(error instanceof SmtpRefused)) throw error;
      // 421: this server ends here; another may go on.
      if (error.reply.code === 421) throw this.#broke(error.message);
      await this.#call((done) => this.#connection.reset(done));
      return error.reply;
    }
  }

  close(): void {
    this.#failure ??= new TransportError(`${this.#at}: closed`);
    this.#connection.close();
  }

  async #login(login: NonNullable<SmtpRoute["login"]>): Promise<void> {
    const { user } = login;
    const auth =
      "token" in login
        ? { oauth2: new XOAuth2({ user, accessToken: login.token }), method: "XOAUTH2" }
        : { credentials: { user, pass: login.password } };
    await this.#call((done) => this.#connection.login(auth, done));
  }

  #broke(why: string): TransportError {
    this.#failure ??= new TransportError(`${this.#at}: ${why}`);
    this.#fail(this.#failure);
    return this.#failure;
  }

  /** nodemailer tells of a broken connection by an event, of a refusal by the callback. */
  #call<T>(
    start: (done: (error?: Error | null, value?: T) => void) => void,
  ): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#fail = reject;
      start((error, value) => {
        if (!error) return resolve(value);
        const { responseCode, response, code } = error as NodemailerFailure;
        if (responseCode !== undefined && response !== undefined) {
          return reject(new SmtpRefused(replyOf(response)));
        }
        if (code === "EMESSAGE") {
          return reject(new SmtpRefused({ code: 552, text: `5.3.4 ${error.message}` }));
        }
        if (code === "EAUTH") {
          return reject(new SmtpRefused({ code: 535, text: `5.7.8 ${error.message}` }));
        }
        reject(this.#broke(error.message));
      });
    });
  }
}

/** A reply that is no success. */
export class SmtpRefused extends Error {
  override readonly name = "SmtpRefused";
  constructor(readonly reply: SmtpReply) {
    super(`${reply.code} ${reply.text}`);
  }
}

function connectionOptions(options: SmtpLineOptions): SMTPConnectionOptions {
  const { route } = options;
  const { connectMs, stallMs } = options.patience;
  const { host, port } = hostPort(route.at);
  const tls = tlsFor(options.tls, host);
  return {
    host,
    port,
    name: "ringpost-sdk",
    allowInternalNetworkInterfaces: true,
    connectionTimeout: connectMs,
    greetingTimeout: 3 * connectMs,
    socketTimeout: stallMs,
    dnsTimeout: connectMs,
    secure: tls !== undefined && route.implicitTls,
    ...(tls === undefined ? { ignoreTLS: true } : { requireTLS: !route.implicitTls, tls }),
  };
}
