/** Mails that real programs wrote, and mails that break careless servers. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { runOk } from "./process.js";

export interface CorpusMail {
  readonly name: string;
  /** As it is to be served: line ends are CRLF, the last line has one. */
  readonly bytes: Buffer;
  /** As a user has it in a file, where that differs: the client adds the last CRLF. */
  readonly written?: Buffer;
}

/** Line ends as a client makes them on its way to SMTP: bare CR and bare LF become CRLF. */
export function canonical(bytes: Buffer): Buffer {
  // latin1 maps each octet to one character and back.
  const text = bytes.toString("latin1").replaceAll(/\r\n|\r|\n/g, "\r\n");
  return Buffer.from(text === "" || text.endsWith("\r\n") ? text : `${text}\r\n`, "latin1");
}

/** The mails of Python's own tests of its email package; none where Python came without them. */
async function pythonMails(): Promise<CorpusMail[]> {
  const program = [
    "import os, importlib.util as u",
    "s = u.find_spec('test.test_email')",
    "print(os.path.join(os.path.dirname(s.origin), 'data') if s else '')",
  ].join("\n");
  const folder = (await runOk("python3", ["-c", program])).stdout.toString().trim();
  if (folder === "") {
    process.stderr.write("this python3 has no test.test_email: its mails are left out\n");
    return [];
  }
  return readdirSync(folder)
    .filter((name) => /^msg_\d+\w*\.txt$/.test(name))
    .sort()
    .map((name) => ({ name, bytes: canonical(readFileSync(join(folder, name))) }));
}

/** What `git format-patch` writes for a few commits, binary file and UTF-8 author included. */
async function gitMails(): Promise<CorpusMail[]> {
  const repo = mkdtempSync(join(tmpdir(), "ringpost-corpus-"));
  const env = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", TZ: "UTC" };
  const git = (...args: string[]) => runOk("git", args, { cwd: repo, env });
  try {
    await git("init", "-q", ".");
    await git("config", "user.name", "Zoë Ångström");
    await git("config", "user.email", "zoe@ring.test");
    writeFileSync(join(repo, "a.txt"), "one\n.\n..\nfour\r\n");
    writeFileSync(join(repo, "b.bin"), Buffer.from(Array.from({ length: 512 }, (_, n) => n % 256)));
    await git("add", ".");
    await git("commit", "-q", "-m", "first: dots and a binary file");
    writeFileSync(join(repo, "a.txt"), "one\nFrom nobody\n.two\nno newline at the end");
    await git("commit", "-q", "-am", "zweiter: grün\n\nmit Text — und Strichen");
    const made = await git("format-patch", "--root", "--binary", "--attach", "-o", "patches");
    return made.stdout
      .toString()
      .trim()
      .split("\n")
      .map((path) => ({ name: `git ${path}`, bytes: canonical(readFileSync(join(repo, path))) }));
  } finally {
    rmSync(repo, { recursive: true, force: true });
  }
}

/** Mails composed by nodemailer: alternatives, attachments, UTF-8 everywhere. */
async function nodemailerMails(): Promise<CorpusMail[]> {
  const composer = createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const common = { from: "Åse <aase@ring.test>", to: "bob@ring.test" };
  const octets = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * n) % 251));
  const mails = {
    "plain text": { ...common, subject: "plain", text: "Hello\n.\n..\nFrom here on\n" },
    "html and text": { ...common, subject: "Grüße", text: "grün", html: "<p>grün &amp; 緑</p>" },
    attachment: {
      ...common,
      subject: "файл",
      text: "see the file",
      attachments: [{ filename: "naïve файл.bin", content: octets }],
    },
    "8bit text": { ...common, subject: "8bit", text: "blå\n", textEncoding: "base64" as const },
    "message in a message": {
      ...common,
      subject: "forwarded",
      text: "below",
      attachments: [
        { filename: "inner.eml", contentType: "message/rfc822", content: "Subject: in\n\nin\n" },
      ],
    },
  };
  const made: CorpusMail[] = [];
  for (const [name, mail] of Object.entries(mails)) {
    const { message } = await composer.sendMail(mail);
    made.push({ name: `nodemailer ${name}`, bytes: canonical(message as Buffer) });
  }
  return made;
}

const header = "From: a@ring.test\r\nTo: b@ring.test\r\nSubject: odd\r\n";
const withBody = (body: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${header}\r\n`), Buffer.from(body)]);
const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const everyOctet = Buffer.from(
  Array.from({ length: 256 }, (_, n) => n).filter((n) => n !== 10 && n !== 13),
);

/** Small mails, each with one thing that is known to go wrong somewhere. */
function oddMails(): CorpusMail[] {
  const odd: Record<string, Buffer> = {
    "latin-1 body": withBody(latin1("bl\xe5b\xe6r\r\n")),
    "latin-1 header": latin1(`Subject: bl\xe5b\xe6r\r\n${header}\r\nx\r\n`),
    "every octet": withBody(Buffer.concat([everyOctet, Buffer.from("\r\n")])),
    "NEL and line separators in the body": withBody("a\u0085b\u2028c\u2029d\r\n"),
    "NEL and line separators in the header": Buffer.from(
      `Subject: a\u0085b\u2028c\u2029d\r\n${header}\r\nx\r\n`,
    ),
    "raw 85 and C3 85": withBody(Buffer.from([0x85, 0x20, 0xc3, 0x85, 0x0d, 0x0a])),
    "lone dots": withBody(".\r\n..\r\n...\r\n.\r\n\r\n.\r\n"),
    "a dot first of all": Buffer.from(".\r\n.x\r\n"),
    "lines of dots": withBody(`${"..................................\r\n".repeat(300)}`),
    "dot, CR-like ends": withBody(".a\r\n.\tb\r\n. \r\n"),
    "998 octets a line": withBody(`${"x".repeat(998)}\r\n`.repeat(3)),
    "a line of 5 kB": withBody(`${"y".repeat(5_000)}\r\n`),
    "a header of 5 kB": Buffer.from(`X-Long: ${"z".repeat(5_000)}\r\n${header}\r\nx\r\n`),
    NUL: withBody("a\0b\r\n\0\r\n"),
    "empty body": Buffer.from(`${header}\r\n`),
    "header only": Buffer.from(header),
    "body only": Buffer.from("\r\nno header at all\r\n"),
    "not a header": Buffer.from("this is not: a header\r\nnor this\r\n"),
    "empty lines": withBody("\r\n".repeat(50)),
    "own trace": Buffer.from(
      `Return-Path: <x@y>\r\nReceived: from a by b;\r\n\tMon, 1 Jan 2024\r\n${header}\r\nx\r\n`,
    ),
    "json and prototypes": withBody('{"__proto__":{"a":1},"$set":{"x.y":1}}\r\n\u0000\ufeff\r\n'),
    "proto header": Buffer.from(`__proto__: x\r\nconstructor: y\r\n${header}\r\nx\r\n`),
    "mbox lines": withBody("From nobody Mon Jan  1\r\n>From me\r\n"),
    "spaces at line ends": withBody("a \r\nb\t\r\n \r\n\t\r\n"),
  };
  const mails: CorpusMail[] = Object.entries(odd).map(([name, bytes]) => ({ name, bytes }));
  const written = withBody("the last line has no end");
  mails.push({
    name: "no newline at the end",
    written,
    bytes: Buffer.concat([written, Buffer.from("\r\n")]),
  });
  return mails;
}

/** No octet at all between DATA and the dot. Only our own client can send it. */
export const nothingAtAll: CorpusMail = { name: "nothing at all", bytes: Buffer.alloc(0) };

/** A base64 attachment of about 25 MB, different in each block so that nothing compresses it. */
export function largeMail(): CorpusMail {
  let state = 0x2545f491;
  const lines: string[] = [];
  for (let line = 0; line < 340_000; line += 1) {
    const raw = Buffer.alloc(54);
    for (let at = 0; at < 54; at += 2) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      raw.writeUInt16LE(state >>> 16, at);
    }
    lines.push(raw.toString("base64"));
  }
  const mime = "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n";
  const head = `${header}MIME-Version: 1.0\r\n${mime}\r\n`;
  return { name: "25 MB", bytes: Buffer.from(`${head}${lines.join("\r\n")}\r\n`) };
}

/** All small mails, those that any client can send. */
export async function smallMails(): Promise<CorpusMail[]> {
  const made = await Promise.all([pythonMails(), gitMails(), nodemailerMails()]);
  return [...made.flat(), ...oddMails()];
}

/**
 * Mails that every mail program handles alike: ASCII text lines, no longer than usual, without the
 * mbox line that `git format-patch` writes (and `git send-email` takes away).
 */
export async function tameMails(): Promise<CorpusMail[]> {
  const made = (await Promise.all([gitMails(), nodemailerMails()])).flat();
  const dots = oddMails().filter((mail) => mail.name === "lone dots");
  return [...made, ...dots]
    .filter(({ bytes }) => bytes.every((octet) => octet < 0x80))
    .map(({ name, bytes }) => ({ name, bytes: withoutMboxLine(bytes) }));
}

function withoutMboxLine(bytes: Buffer): Buffer {
  if (!bytes.subarray(0, 5).equals(Buffer.from("From "))) return bytes;
  return bytes.subarray(bytes.indexOf("\n") + 1);
}
