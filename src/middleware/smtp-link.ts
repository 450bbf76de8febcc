/** One connection to the smart host: nodemailer's, with promises that end when it does. */
import { isAscii } from "node:buffer";
import SMTPConnection from "nodemailer/lib/smtp-connection";

export interface SmtpLinkOptions {
  readonly host: string;
  readonly port: number;
  /** In EHLO. */
  readonly hostName: string;
  readonly credentials?: { readonly user: string; readonly password: string };
  readonly tls: "opportunistic" | "required";
}

/** What a failed try is rejected with. */
export interface SmtpFailure extends Error {
  readonly code?: string;
  /** In which step, as nodemailer names them: `MAIL FROM`, `RCPT TO`, `DATA` … */
  readonly command?: string;
  readonly response?: string;
  readonly responseCode?: number;
}

/** RFC 5321 §4.5.3.2: a client that gives up sooner on the last reply makes doubles (RFC 1047). */
const replyMs = 10 * 60 * 1_000;
const connectMs = 30_000;
const greetingMs = 5 * 60 * 1_000;

export class SmtpLink {
  /** No mail can be sent any more. */
  isBroken = false;
  private readonly connection: SMTPConnection;
  private readonly ended: Promise<never>;
  private quitTimer: NodeJS.Timeout | undefined;

  /** `onEnd` is called once. */
  constructor(
    private readonly options: SmtpLinkOptions,
    private readonly onEnd: () => void,
  ) {
    const { host, port, hostName, tls } = options;
    this.connection = new SMTPConnection({
      ...{ host, port, name: hostName, secure: port === 465 },
      ...(tls === "required"
        ? { requireTLS: port !== 465 }
        : { opportunisticTLS: true, tls: { rejectUnauthorized: false } }),
      ...{ connectionTimeout: connectMs, greetingTimeout: greetingMs, socketTimeout: replyMs },
    });
    this.ended = new Promise((_, reject) => {
      this.connection.on("error", reject);
      // What the server said before it closed comes in the same turn, and tells more.
      this.connection.on("end", () => {
        setImmediate(() => reject(new Error("the connection was closed")));
      });
    });
    this.ended.catch(() => this.end());
  }

  /** With TLS and login, as wanted. @throws SmtpFailure */
  async connect(): Promise<void> {
    const { credentials } = this.options;
    await this.step<void>((done) => this.connection.connect((error) => done(error ?? null)));
    if (!credentials) return;
    const { user, password: pass } = credentials;
    await this.step<unknown>((done) => this.connection.login({ user, pass }, done));
  }

  /** Resolves to the reply to the data. @throws SmtpFailure */
  async send({ from, to, octets }: { from: string; to: string; octets: Buffer }): Promise<string> {
    clearTimeout(this.quitTimer);
    const info = await this.step<{ response?: string | undefined }>((done) =>
      this.connection.send(
        {
          ...{ from: from === "" ? false : from, to: [to], size: octets.length },
          use8BitMime: !isAscii(octets),
        },
        octets,
        (error, sent) => done(error, sent ?? {}),
      ),
    );
    return info.response ?? "";
  }

  /** Unless there is another mail before. */
  quitAfter(ms: number): void {
    this.quitTimer = setTimeout(() => {
      this.end();
      this.connection.quit();
    }, ms);
    this.quitTimer.unref();
  }

  /** At once, whatever is under way. */
  close(): void {
    this.end();
    this.connection.close();
  }

  private end(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    clearTimeout(this.quitTimer);
    this.onEnd();
  }

  private step<T>(begin: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
    const made = new Promise<T>((resolve, reject) => {
      begin((error, value) => (error ? reject(error) : resolve(value as T)));
    });
    return Promise.race([made, this.ended]);
  }
}
