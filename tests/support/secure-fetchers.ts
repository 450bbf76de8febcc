/** Programs that fetch mail over TLS. All check the server's certificate. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Pop3Command from "node-pop3";
import { canonical } from "./corpus.js";
import { runOk, runProcess } from "./process.js";
import { hostPort } from "./wire.js";

export interface SecureFetchJob {
  readonly at: string;
  /** TLS from the first octet; otherwise by STLS. */
  readonly implicit: boolean;
  readonly caFile: string;
  readonly user: string;
  readonly password: string;
}

export interface SecureFetcher {
  readonly name: string;
  readonly program?: string;
  /** `USER` and SASL mechanisms. */
  readonly methods: readonly string[];
  /** Absent: both ways. */
  readonly only?: "implicit" | "stls";
  /** All mails of the maildrop, in any order. */
  readonly fetch: (job: SecureFetchJob, method: string) => Promise<Buffer[]>;
}

async function python(job: SecureFetchJob): Promise<Buffer[]> {
  const { host, port } = hostPort(job.at);
  const { implicit, caFile: ca, user, password } = job;
  const result = await runOk("python3", [join(import.meta.dirname, "drivers/fetch_tls.py")], {
    stdin: JSON.stringify({ host, port, ca, implicit, user, password }),
  });
  const mails = JSON.parse(result.stdout.toString()) as string[];
  return mails.map((base64) => Buffer.from(base64, "base64"));
}

async function curl(job: SecureFetchJob, method: string): Promise<Buffer[]> {
  const base = `${job.implicit ? "pop3s" : "pop3"}://${job.at}/`;
  const bearer = method === "OAUTHBEARER" || method === "XOAUTH2";
  const who = bearer
    ? ["--user", job.user, "--oauth2-bearer", job.password]
    : ["--user", `${job.user}:${job.password}`];
  const login = ["-sS", "-m", "60", "--ssl-reqd", "--cacert", job.caFile, ...who];
  login.push("--login-options", `AUTH=${method}`);
  const listing = await runOk("curl", [...login, base]);
  const count = listing.stdout.toString().split("\r\n").filter(Boolean).length;
  return await inFolder(async (folder) => {
    await runOk("curl", [...login, `${base}[1-${count}]`, "-o", join(folder, "#1")]);
    return Array.from({ length: count }, (_, n) => readFileSync(join(folder, String(n + 1))));
  });
}

async function mpop(job: SecureFetchJob, method: string): Promise<Buffer[]> {
  return await inFolder(async (folder) => {
    const { host, port } = hostPort(job.at);
    const box = maildir(folder);
    const tls = ["--tls=on", `--tls-starttls=${job.implicit ? "off" : "on"}`];
    const where = [`--host=${host}`, `--port=${port}`, ...tls, `--tls-trust-file=${job.caFile}`];
    const who = [`--user=${job.user}`, `--auth=${method}`, "--passwordeval=printenv MPOP_SECRET"];
    const how = ["--keep=on", `--uidls-file=${join(folder, "uidls")}`, "--received-header=off"];
    const args = [...where, ...who, ...how, `--delivery=maildir,${box}`, "--timeout=30"];
    await runOk("mpop", args, { env: { HOME: folder, MPOP_SECRET: job.password } });
    return delivered(box);
  });
}

async function fetchmail(job: SecureFetchJob): Promise<Buffer[]> {
  return await inFolder(async (folder) => {
    const { port } = hostPort(job.at);
    const mda = `cat > "$(mktemp ${folder}/got-XXXXXXXX)"`;
    const tls = job.implicit ? "ssl" : "sslproto 'TLS1.2+'";
    const lines = [
      // It looks for an address in the certificate's names, and finds host names only.
      `poll localhost protocol pop3 service ${port} timeout 30`,
      `  user '${job.user}' password '${job.password}' ${tls}`,
      `  sslcertck sslcertfile '${job.caFile}'`,
      `  fetchall keep no rewrite no mimedecode mda '${mda}'`,
    ];
    const rc = join(folder, "fetchmailrc");
    writeFileSync(rc, `set invisible\nset no bouncemail\n${lines.join("\n")}\n`, { mode: 0o600 });
    const env = { HOME: folder, FETCHMAILHOME: folder };
    await runOk("fetchmail", ["-f", rc, "--nosyslog", "--nodetach"], { env });
    const files = readdirSync(folder).filter((file) => file.startsWith("got-"));
    return files.map((file) => canonical(readFileSync(join(folder, file))));
  });
}

/**
 * getmail6 forks for each mail and does not notice a child that has ended before it begins to wait
 * (`ForkingBase` in its baseclasses.py): on a busy machine it then hangs until its timeout. A child
 * that takes its time makes that rare; whoever was hit by it starts again.
 */
async function getmail(job: SecureFetchJob): Promise<Buffer[]> {
  const triesMax = 5;
  for (let tries = 1; ; tries += 1) {
    const { mails, code, stderr } = await getmailOnce(job);
    if (code === 0) return mails;
    if (tries === triesMax || !/waiting child pid \d+ timed out/.test(stderr)) {
      throw new Error(`getmail: ${code}\n${stderr}`);
    }
  }
}

async function getmailOnce(job: SecureFetchJob) {
  return await inFolder(async (folder) => {
    const { host, port } = hostPort(job.at);
    const box = join(folder, "box");
    const lines = [
      "[retriever]",
      "type = SimplePOP3SSLRetriever",
      `server = ${host}`,
      `port = ${port}`,
      `username = ${job.user}`,
      `password = ${job.password}`,
      `ca_certs = ${job.caFile}`,
      "timeout = 15",
      "[destination]",
      // Its own Maildir writer refuses to run as root, which CI may be.
      "type = MDA_external",
      "path = /bin/sh",
      `arguments = ("-c", "cat >> ${box} && sleep 0.2")`,
      "unixfrom = true",
      "allow_root_commands = true",
      "[options]",
      "delivered_to = false",
      "received = false",
    ];
    const rc = join(folder, "getmailrc");
    writeFileSync(rc, `${lines.join("\n")}\n`, { mode: 0o600 });
    const args = [`--getmaildir=${folder}`, `--rcfile=${rc}`];
    const { code, stderr } = await runProcess("getmail", args, { env: { HOME: folder } });
    return { mails: existsSync(box) ? mboxMails(readFileSync(box)) : [], code, stderr };
  });
}

async function sNail(job: SecureFetchJob): Promise<Buffer[]> {
  return await inFolder(async (folder) => {
    const box = join(folder, "box");
    const { port } = hostPort(job.at);
    const where = `${job.implicit ? "pop3s" : "pop3"}://${job.user}@localhost:${port}`;
    const settings = [
      ...["v15-compat", `password=${job.password}`, "pop3-auth=plain", "nopop3-keepalive"],
      ...["pop3-use-starttls", "tls-verify=strict", `tls-ca-file=${job.caFile}`],
      ...["tls-ca-no-defaults", "keep", "hold", "pop3-bulk-load"],
    ].flatMap((setting) => ["-S", setting]);
    const args = ["-:/", ...settings, "-f", where];
    const result = await runProcess("s-nail", args, {
      stdin: `copy * ${box}\nxit\n`,
      env: { HOME: folder, MAILRC: "/dev/null" },
    });
    if (result.code !== 0) throw new Error(`s-nail: ${result.code}\n${result.stderr}`);
    return existsSync(box) ? mboxMails(readFileSync(box)) : [];
  });
}

/** s-nail writes an mbox with a Status line of its own in each mail. */
function mboxMails(mbox: Buffer): Buffer[] {
  const texts = mbox.toString("latin1").split(/^From .*\n/m);
  return texts.slice(1).map((text) => {
    const without = text.replace(/^Status: .*\n/m, "").replace(/\n\n$/, "\n");
    return canonical(Buffer.from(without, "latin1"));
  });
}

async function nodePop3(job: SecureFetchJob): Promise<Buffer[]> {
  const { user, password } = job;
  const tlsOptions = { ca: readFileSync(job.caFile) };
  const options = { ...hostPort(job.at), user, password, tls: true, tlsOptions, timeout: 30_000 };
  const client = new Pop3Command(options);
  const mails: Buffer[] = [];
  for (const [number] of (await client.UIDL()) as string[][]) {
    const text = await client.RETR(Number(number));
    mails.push(canonical(Buffer.from(text.replaceAll(/^\./gm, ""))));
  }
  await client.QUIT();
  return mails;
}

function maildir(folder: string): string {
  const box = join(folder, "box");
  for (const name of ["cur", "new", "tmp"]) mkdirSync(join(box, name), { recursive: true });
  return box;
}

function delivered(box: string): Buffer[] {
  return readdirSync(join(box, "new")).map((file) =>
    canonical(readFileSync(join(box, "new", file))),
  );
}

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-fetch-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const secureFetchers: readonly SecureFetcher[] = [
  { name: "Python poplib", program: "python3", methods: ["USER"], fetch: python },
  {
    name: "curl",
    program: "curl",
    methods: ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"],
    fetch: curl,
  },
  {
    name: "mpop",
    program: "mpop",
    methods: ["user", "plain", "scram-sha-256", "oauthbearer", "xoauth2"],
    fetch: mpop,
  },
  { name: "fetchmail", program: "fetchmail", methods: ["USER"], fetch: fetchmail },
  { name: "getmail6", program: "getmail", methods: ["USER"], only: "implicit", fetch: getmail },
  { name: "s-nail", program: "s-nail", methods: ["PLAIN"], fetch: sNail },
  { name: "node-pop3", methods: ["USER"], only: "implicit", fetch: nodePop3 },
];
