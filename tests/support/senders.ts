/** Programs that send mail, each behind one function. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import type { CorpusMail } from "./corpus.js";
import { runOk } from "./process.js";
import { SmtpClient } from "./smtp-client.js";
import { hostPort } from "./wire.js";

export interface SendJob {
  /** `host:port` of the SMTP listener. */
  readonly smtp: string;
  readonly from: string;
  readonly to: string;
  readonly mails: readonly CorpusMail[];
}

export interface Sender {
  readonly name: string;
  /** Program that must be installed; undefined for those that come with the tests. */
  readonly program?: string;
  /** Sends all mails, in order; throws unless all were accepted. */
  readonly send: (job: SendJob) => Promise<void>;
  /** True for mails that the program can't send unchanged. */
  readonly spoils?: (mail: CorpusMail) => boolean;
}

async function ours(job: SendJob): Promise<void> {
  const client = await SmtpClient.connect(job.smtp);
  try {
    for (const mail of job.mails) {
      const result = await client.send({ from: job.from, to: [job.to] }, written(mail));
      if (!result.stored) throw new Error(`${mail.name}: ${result.reply.lines.join(" / ")}`);
    }
    await client.quit();
  } finally {
    client.destroy();
  }
}

async function oursPipelined(job: SendJob): Promise<void> {
  const client = await SmtpClient.connect(job.smtp);
  try {
    const envelope = { from: job.from, to: [job.to] };
    const results = await client.sendPipelined(envelope, job.mails.map(written));
    const bad = results.findIndex((result) => !result.stored);
    if (bad >= 0) throw new Error(`${job.mails[bad]?.name}: ${results[bad]?.reply.lines.join()}`);
    await client.quit();
  } finally {
    client.destroy();
  }
}

async function python(job: SendJob): Promise<void> {
  const { host, port } = hostPort(job.smtp);
  const mails = job.mails.map((mail) => written(mail).toString("base64"));
  await runOk("python3", [join(import.meta.dirname, "drivers/send.py")], {
    stdin: JSON.stringify({ host, port, from: job.from, to: job.to, mails }),
    deadlineMs: 120_000,
  });
}

async function curl(job: SendJob): Promise<void> {
  await eachFile(job.mails.map(written), async (file) => {
    const envelope = ["--mail-from", job.from, "--mail-rcpt", job.to];
    const url = `smtp://${job.smtp}/curl.test`;
    await runOk("curl", ["-sS", "-m", "60", ...envelope, "--upload-file", file, url]);
  });
}

async function swaks(job: SendJob): Promise<void> {
  // swaks puts a line end of its own in front of the final dot.
  const files = job.mails.map(({ bytes }) => bytes.subarray(0, -2));
  await eachFile(files, async (file) => {
    const envelope = ["--from", job.from, "--to", job.to, "--ehlo", "swaks.test"];
    await runOk("swaks", ["--server", job.smtp, ...envelope, "--data", `@${file}`]);
  });
}

async function nodemailer(job: SendJob): Promise<void> {
  const transport = createTransport({
    ...hostPort(job.smtp),
    secure: false,
    ignoreTLS: true,
    pool: true,
    maxConnections: 1,
  });
  try {
    for (const mail of job.mails) {
      const envelope = { from: job.from, to: job.to, use8BitMime: true };
      await transport.sendMail({ envelope, raw: written(mail) });
    }
  } finally {
    transport.close();
  }
}

function written(mail: CorpusMail): Buffer {
  return mail.written ?? mail.bytes;
}

async function eachFile(
  contents: readonly Buffer[],
  send: (file: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-send-"));
  try {
    for (const bytes of contents) {
      const file = join(folder, "mail.eml");
      writeFileSync(file, bytes);
      await send(file);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * swaks fills in %TOKENS%, drops a leading mbox line and a last line that is a dot, adds a body
 * where there is none, and reads its file as text.
 */
function spoiledBySwaks({ bytes }: CorpusMail): boolean {
  const text = bytes.toString("latin1");
  const hasBody = /\r\n\r\n[^]/.test(text);
  return !hasBody || /%|^From |\\n|\r\n\.\r\n$|[\x80-\xff]/.test(text);
}

export const senders = {
  ours: { name: "our client", send: ours },
  oursPipelined: { name: "our client, pipelined", send: oursPipelined },
  python: { name: "Python smtplib", program: "python3", send: python },
  curl: { name: "curl", program: "curl", send: curl },
  swaks: { name: "swaks", program: "swaks", send: swaks, spoils: spoiledBySwaks },
  nodemailer: { name: "nodemailer", send: nodemailer },
} satisfies Record<string, Sender>;

export const allSenders: readonly Sender[] = Object.values(senders);
