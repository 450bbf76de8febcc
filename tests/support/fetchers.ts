/** Programs that fetch mail, each behind one function. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Pop3Command from "node-pop3";
import { canonical } from "./corpus.js";
import { fetchAll } from "./pop3-client.js";
import { runOk, runProcess } from "./process.js";
import { hostPort } from "./wire.js";

export interface FetchJob {
  /** `host:port` of the POP3 listener. */
  readonly pop3: string;
  readonly user: string;
  readonly password: string;
  /** Delete what was fetched. Only for those with `deletes`. */
  readonly delete?: boolean;
}

export interface GotMail {
  /** Undefined where the program does not tell. */
  readonly uid?: string;
  readonly bytes: Buffer;
}

export interface Fetcher {
  readonly name: string;
  readonly program?: string;
  /** All mails, in the order of the maildrop. */
  readonly fetch: (job: FetchJob) => Promise<GotMail[]>;
  readonly deletes?: true;
  /** True for a program that stores local line ends or text: good for tame mails only. */
  readonly tameOnly?: true;
}

const ours = (job: FetchJob): Promise<GotMail[]> => fetchAll(job.pop3, job.user, job.password);

const oursPipelined = (job: FetchJob): Promise<GotMail[]> =>
  fetchAll(job.pop3, job.user, job.password, { pipelined: true });

async function python(job: FetchJob): Promise<GotMail[]> {
  const { host, port } = hostPort(job.pop3);
  const { user, password } = job;
  const result = await runOk("python3", [join(import.meta.dirname, "drivers/fetch.py")], {
    stdin: JSON.stringify({ host, port, user, password, delete: job.delete === true }),
    deadlineMs: 120_000,
  });
  const { mails } = JSON.parse(result.stdout.toString()) as {
    mails: { uid: string; base64: string }[];
  };
  return mails.map(({ uid, base64 }) => ({ uid, bytes: Buffer.from(base64, "base64") }));
}

async function curl(job: FetchJob): Promise<GotMail[]> {
  const login = ["-sS", "-m", "60", "--user", `${job.user}:${job.password}`];
  const listing = await runOk("curl", [...login, `pop3://${job.pop3}/`]);
  const numbers = listing.stdout.toString().split("\r\n").filter(Boolean);
  if (numbers.length === 0) return [];
  return await inFolder(async (folder) => {
    const url = `pop3://${job.pop3}/[1-${numbers.length}]`;
    await runOk("curl", [...login, url, "-o", join(folder, "#1")]);
    return numbers.map((_, index) => ({ bytes: readFileSync(join(folder, String(index + 1))) }));
  });
}

async function mpop(job: FetchJob): Promise<GotMail[]> {
  return await inFolder(async (folder) => {
    const { host, port } = hostPort(job.pop3);
    const box = join(folder, "box");
    await runOk("mkdir", ["-p", ...["cur", "new", "tmp"].map((name) => join(box, name))]);
    const where = [`--host=${host}`, `--port=${port}`, "--tls=off"];
    const who = [`--user=${job.user}`, "--auth=user", "--passwordeval=printenv MPOP_SECRET"];
    const keep = job.delete === true ? "off" : "on";
    const how = [`--keep=${keep}`, `--uidls-file=${join(folder, "uidls")}`];
    const what = [`--delivery=maildir,${box}`, "--received-header=off", "--timeout=30"];
    const args = [...where, ...who, ...how, ...what];
    // A HOME of its own keeps the user's .mpoprc out.
    await runOk("mpop", args, { env: { HOME: folder, MPOP_SECRET: job.password } });
    const files = readdirSync(join(box, "new"));
    return files.map((file) => ({ bytes: canonical(readFileSync(join(box, "new", file))) }));
  });
}

async function fetchmail(job: FetchJob): Promise<GotMail[]> {
  return await inFolder(async (folder) => {
    const { host, port } = hostPort(job.pop3);
    const rc = join(folder, "fetchmailrc");
    const mda = `cat > "$(mktemp ${folder}/got-XXXXXXXX)"`;
    const keep = job.delete === true ? "nokeep" : "keep";
    const lines = [
      `poll ${host} protocol pop3 service ${port} timeout 30`,
      `  user '${job.user}' password '${job.password}' sslproto ''`,
      `  fetchall ${keep} no rewrite no mimedecode mda '${mda}'`,
    ];
    writeFileSync(rc, `set invisible\nset no bouncemail\n${lines.join("\n")}\n`, { mode: 0o600 });
    const env = { HOME: folder, FETCHMAILHOME: folder };
    const result = await runProcess("fetchmail", ["-f", rc, "--nosyslog", "--nodetach"], { env });
    // Exit 1 says that there was no mail.
    if (result.code !== 0 && result.code !== 1) {
      throw new Error(`fetchmail: exit ${result.code}\n${result.stdout}\n${result.stderr}`);
    }
    const files = readdirSync(folder).filter((file) => file.startsWith("got-"));
    return files.map((file) => ({ bytes: canonical(readFileSync(join(folder, file))) }));
  });
}

/** node-pop3 hands out text: dots doubled as they came, mostly without the last line end. */
async function nodePop3(job: FetchJob): Promise<GotMail[]> {
  const { user, password } = job;
  const client = new Pop3Command({ ...hostPort(job.pop3), user, password, timeout: 30_000 });
  const uids = (await client.UIDL()) as string[][];
  const octets = ((await client.LIST()) as string[][]).map(([, size]) => Number(size));
  const mails: GotMail[] = [];
  for (const [number, uid] of uids) {
    const text = await client.RETR(Number(number));
    const given = Buffer.from(text.replaceAll(/^\./gm, ""));
    const cut = given.length + 2 === octets[Number(number) - 1];
    const bytes = cut ? Buffer.concat([given, Buffer.from("\r\n")]) : given;
    mails.push({ ...(uid === undefined ? {} : { uid }), bytes });
    if (job.delete === true) await client.DELE(Number(number));
  }
  await client.QUIT();
  return mails;
}

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-fetch-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const fetchers = {
  ours: { name: "our client", fetch: ours },
  oursPipelined: { name: "our client, pipelined", fetch: oursPipelined },
  python: { name: "Python poplib", program: "python3", fetch: python, deletes: true },
  curl: { name: "curl", program: "curl", fetch: curl },
  mpop: { name: "mpop", program: "mpop", fetch: mpop, deletes: true, tameOnly: true },
  fetchmail: {
    name: "fetchmail",
    program: "fetchmail",
    fetch: fetchmail,
    deletes: true,
    tameOnly: true,
  },
  nodePop3: { name: "node-pop3", fetch: nodePop3, deletes: true, tameOnly: true },
} satisfies Record<string, Fetcher>;

export const allFetchers: readonly Fetcher[] = Object.values(fetchers);
