/** For the tests of this room: an authenticator with a table of passwords, and a certificate. */
import { spawnSync } from "node:child_process";
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type {
  AuthenticationResult,
  Authenticator,
  ClientOrigin,
  Identity,
  SaslExchange,
  SaslMechanism,
  SaslReply,
  SenderAnswer,
  Senders,
} from "../mailbox/authentication.js";
import type { MailboxName } from "../shared/ids.js";
import type { TlsContexts } from "../shared/tls.js";

/** Alice, whose password is as odd as they come, and who has a plainer one for old clients. */
export const alice = {
  user: "alice@ring.test",
  pass: 'p\u00e4ssword, with "quotes"',
  plainer: "correct horse",
  token: "t0k3n",
};

const done = (result: AuthenticationResult): SaslReply => ({ kind: "done", result });
const challenge = (text: string): SaslReply => ({ kind: "challenge", data: Buffer.from(text) });
const malformed: SaslReply = { kind: "malformed" };

export class FakeAuthenticator implements Authenticator {
  /** What every try is answered, instead of looking at it; and what it waits for first. */
  answer: AuthenticationResult | undefined;
  gate: Promise<void> | undefined;
  readonly tries: { mechanism: SaslMechanism; from: ClientOrigin }[] = [];

  async password(username: string, password: string): Promise<AuthenticationResult> {
    await this.gate;
    if (this.answer !== undefined) return this.answer;
    const right = password === alice.pass || password === alice.plainer;
    if (username !== alice.user || !right) return { kind: "denied" };
    return { kind: "granted", identity: { mailbox: username as MailboxName, folder: "inbox" } };
  }

  begin(mechanism: SaslMechanism, from: ClientOrigin): SaslExchange {
    this.tries.push({ mechanism, from });
    switch (mechanism) {
      case "PLAIN":
        return steps([""], ([text = ""]) => this.#plain(text));
      case "LOGIN":
        return steps(["Username:", "Password:"], ([user = "", pass = ""]) =>
          this.password(user, pass).then(done),
        );
      case "XOAUTH2":
      case "OAUTHBEARER":
        return steps([""], ([text = ""]) => this.#bearer(mechanism, text));
      case "SCRAM-SHA-256":
        return new Scram((user, proved) => this.password(user, proved ? alice.pass : "wrong"));
    }
  }

  async #plain(text: string): Promise<SaslReply> {
    const [asWhom, user, pass, ...rest] = text.split("\0");
    if (user === undefined || pass === undefined || rest.length > 0) return malformed;
    if (asWhom !== "" && asWhom !== user) return done({ kind: "denied" });
    return done(await this.password(user, pass));
  }

  async #bearer(mechanism: SaslMechanism, text: string): Promise<SaslReply> {
    const user = (mechanism === "XOAUTH2" ? /^user=(.*?)\x01/ : /^n,a=(.*?),/).exec(text)?.[1];
    const token = /\x01auth=Bearer (.*?)\x01/i.exec(text)?.[1];
    if (user === undefined || token === undefined) return malformed;
    const result = await this.password(user, token === alice.token ? alice.pass : "wrong");
    // RFC 7628 §3.2.3: an error is a challenge, and the client has to say something once more.
    return result.kind === "denied" ? challenge('{"status":"invalid_token"}') : done(result);
  }
}

/** Asks for as many responses as there are prompts; an initial response is the first of them. */
function steps(
  prompts: readonly string[],
  finish: (responses: readonly string[]) => Promise<SaslReply>,
): SaslExchange {
  const responses: string[] = [];
  let finished = false;
  return {
    async respond(data) {
      if (finished) return done({ kind: "denied" });
      if (data !== undefined) responses.push(data.toString());
      const prompt = prompts[responses.length];
      if (prompt !== undefined) return challenge(prompt);
      finished = true;
      return finish(responses);
    },
  };
}

/** RFC 5802 and RFC 7677, the server's side, for alice alone. */
class Scram implements SaslExchange {
  readonly #salt = randomBytes(16);
  #clientFirst = "";
  #serverFirst = "";
  #result: AuthenticationResult | undefined;

  constructor(
    private readonly decide: (user: string, proved: boolean) => Promise<AuthenticationResult>,
  ) {}

  async respond(data: Buffer | undefined): Promise<SaslReply> {
    if (data === undefined) return challenge("");
    if (this.#result !== undefined) return done(this.#result);
    const text = data.toString();
    if (this.#serverFirst === "") {
      const nonce = /^n,,n=[^,]*,r=([^,]+)$/.exec(text)?.[1];
      if (nonce === undefined) return malformed;
      this.#clientFirst = text.slice("n,,".length);
      const salt = this.#salt.toString("base64");
      this.#serverFirst = `r=${nonce}${randomBytes(9).toString("base64")},s=${salt},i=4096`;
      return challenge(this.#serverFirst);
    }
    const [, bare = "", proof = ""] = /^(.*),p=([^,]+)$/.exec(text) ?? [];
    const user = /n=([^,]*)/.exec(this.#clientFirst)?.[1] ?? "";
    const authMessage = `${this.#clientFirst},${this.#serverFirst},${bare}`;
    const { expected, signature } = scramProof(alice.pass, this.#salt, authMessage);
    const result = await this.decide(user, proof === expected);
    if (result.kind !== "granted") return done(result);
    this.#result = result;
    return challenge(`v=${signature}`);
  }
}

/** What the client proves to know, and what the server does: RFC 5802 §3. */
export function scramProof(password: string, salt: Buffer, authMessage: string) {
  const hmac = (key: Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const salted = pbkdf2Sync(password, salt, 4096, 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const storedKey = createHash("sha256").update(clientKey).digest();
  const clientSignature = hmac(storedKey, authMessage);
  const proof = Buffer.from(clientKey.map((octet, at) => octet ^ (clientSignature[at] as number)));
  const signature = hmac(hmac(salted, "Server Key"), authMessage).toString("base64");
  return { expected: proof.toString("base64"), signature };
}

/** Everybody may send as herself and with a subaddress; `undecided…` can't be decided. */
export class FakeSenders implements Senders {
  gate: Promise<void> | undefined;

  async maySend({ mailbox }: Identity, address: string): Promise<SenderAnswer> {
    await this.gate;
    if (address.startsWith("undecided")) return "undecided";
    return address.replace(/\+[^@]*@/, "@") === mailbox ? "allowed" : "refused";
  }
}

interface Pem {
  readonly key: string;
  readonly cert: string;
}

/** A fresh certificate for `name` and 127.0.0.1. */
function certificate(name = "mx.ring.test"): Pem {
  const folder = mkdtempSync(path.join(tmpdir(), "ringpost-cert-"));
  const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const names = `subjectAltName=DNS:${name},IP:127.0.0.1`;
  const made = spawnSync("openssl", [
    ...["req", "-x509", ...options, "-subj", `/CN=${name}`, "-addext", names],
    ...["-keyout", key, "-out", cert],
  ]);
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr.toString()}`);
  try {
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A certificate that can be changed while the server runs. */
export class FakeTls implements TlsContexts {
  pem = certificate();
  taken = 0;
  #context;

  constructor(private readonly options: SecureContextOptions = {}) {
    this.#context = createSecureContext({ ...this.pem, ...options });
  }

  current() {
    this.taken += 1;
    return this.#context;
  }

  change(name: string): void {
    this.pem = certificate(name);
    this.#context = createSecureContext({ ...this.pem, ...this.options });
  }
}
