/** Programs that hand mail in with TLS and a password. All check the server's certificate. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { runOk } from "./process.js";
import { hostPort } from "./wire.js";

export interface SubmitJob {
  /** `host:port`; TLS comes by STARTTLS or from the first octet. */
  readonly at: string;
  readonly implicit: boolean;
  readonly caFile: string;
  readonly user: string;
  readonly password: string;
  readonly from: string;
  readonly to: string;
  /** CRLF line ends. */
  readonly mail: Buffer;
}

export interface Submitter {
  readonly name: string;
  readonly program?: string;
  readonly methods: readonly string[];
  readonly submit: (job: SubmitJob, method: string) => Promise<void>;
}

async function python(job: SubmitJob, method: string): Promise<void> {
  const { host, port } = hostPort(job.at);
  const { implicit, caFile: ca, user, password, from, to } = job;
  const mail = job.mail.toString("base64");
  await runOk("python3", [join(import.meta.dirname, "drivers/submit.py")], {
    stdin: JSON.stringify({ host, port, ca, implicit, method, user, password, from, to, mail }),
  });
}

async function curl(job: SubmitJob, method: string): Promise<void> {
  await withFile(job.mail, async (file) => {
    const url = `${job.implicit ? "smtps" : "smtp"}://${job.at}/curl.test`;
    const tls = ["--ssl-reqd", "--cacert", job.caFile];
    const bearer = method === "OAUTHBEARER" || method === "XOAUTH2";
    const who = bearer
      ? ["--user", job.user, "--oauth2-bearer", job.password]
      : ["--user", `${job.user}:${job.password}`];
    const auth = [...who, "--login-options", `AUTH=${method}`];
    const envelope = ["--mail-from", job.from, "--mail-rcpt", job.to, "--upload-file", file];
    await runOk("curl", ["-sS", "-m", "60", ...tls, ...auth, ...envelope, url]);
  });
}

async function swaks(job: SubmitJob, method: string): Promise<void> {
  // swaks puts a line end of its own in front of the final dot.
  await withFile(job.mail.subarray(0, -2), async (file) => {
    const tls = job.implicit ? "--tls-on-connect" : "--tls";
    const who = ["--auth-user", job.user, "--auth-password", job.password, "--auth", method];
    const envelope = ["--from", job.from, "--to", job.to, "--ehlo", "swaks.test"];
    const check = ["--tls-verify", "--tls-ca-path", job.caFile];
    const args = ["--server", job.at, tls, ...check, ...who, ...envelope, "--data", `@${file}`];
    await runOk("swaks", args);
  });
}

async function msmtp(job: SubmitJob, method: string): Promise<void> {
  const { host, port } = hostPort(job.at);
  const where = [`--host=${host}`, `--port=${port}`, "--tls=on", "--timeout=30"];
  const tls = [
    `--tls-starttls=${job.implicit ? "off" : "on"}`,
    `--tls-trust-file=${job.caFile}`,
    "--protocol=smtp",
  ];
  const who = [`--auth=${method}`, `--user=${job.user}`, "--passwordeval=printenv MSMTP_SECRET"];
  const args = [...where, ...tls, ...who, `--from=${job.from}`, job.to];
  // msmtp makes CRLF of LF.
  const stdin = Buffer.from(job.mail.toString("latin1").replaceAll("\r\n", "\n"), "latin1");
  await runOk("msmtp", args, { stdin, env: { HOME: tmpdir(), MSMTP_SECRET: job.password } });
}

async function nodemailer(job: SubmitJob, method: string): Promise<void> {
  const { user, password, from, to } = job;
  const transport = createTransport({
    ...hostPort(job.at),
    secure: job.implicit,
    requireTLS: !job.implicit,
    tls: { ca: readFileSync(job.caFile) },
    auth:
      method === "XOAUTH2"
        ? { type: "OAuth2", user, accessToken: password }
        : { user, pass: password },
    ...(method === "XOAUTH2" ? {} : { authMethod: method }),
  });
  try {
    await transport.sendMail({ envelope: { from, to }, raw: job.mail });
  } finally {
    transport.close();
  }
}

async function withFile(bytes: Buffer, use: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-submit-"));
  try {
    const file = join(folder, "mail.eml");
    writeFileSync(file, bytes);
    await use(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const submitters: readonly Submitter[] = [
  { name: "Python smtplib", program: "python3", methods: ["PLAIN", "LOGIN"], submit: python },
  {
    name: "curl",
    program: "curl",
    methods: ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"],
    submit: curl,
  },
  { name: "swaks", program: "swaks", methods: ["PLAIN", "LOGIN"], submit: swaks },
  {
    name: "msmtp",
    program: "msmtp",
    methods: ["plain", "login", "scram-sha-256", "oauthbearer", "xoauth2"],
    submit: msmtp,
  },
  { name: "nodemailer", methods: ["PLAIN", "LOGIN", "XOAUTH2"], submit: nodemailer },
];

/** True where what stands for the password is a session token. */
export const wantsToken = (method: string): boolean => /oauth/i.test(method);
