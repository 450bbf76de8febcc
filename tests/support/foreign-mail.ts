/**
 * A mail system that is not ours: Debian's Postfix and Dovecot on loopback, with configuration, queue and
 * mailboxes in a folder of their own. The system's files are not touched.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Dovecot, dovecotMissing, startDovecot } from "./dovecot.js";
import { endWithUs } from "./process.js";
import { SmtpClient } from "./smtp-client.js";
import { waitUntil, within } from "./wait.js";

const foreignDomain = "foreign.test";

export interface ForeignMail {
  /** `host:port` of Postfix, which takes mail for everybody from loopback. */
  readonly smtp: string;
  /** `host:port` of Dovecot. */
  readonly pop3: string;
  /** Of every account. */
  readonly password: string;
  /** What Postfix has said, for people. */
  log(): string;
  stop(): Promise<void>;
}

export interface ForeignMailOptions {
  /** The port of `smtp`, from `freePort`. */
  readonly port: number;
  /** Names of accounts, without the domain. */
  readonly accounts: readonly string[];
  /** `host:port` to which mail for `ring.test` goes. */
  readonly ringSmtp: string;
}

const master = "/usr/lib/postfix/sbin/master";
/** Debian's `nobody`, whose the mailboxes are. */
const nobody = 65_534;

/** Why there can be none here; undefined when there can. */
export function foreignMailMissing(): string | undefined {
  if (!existsSync(master)) return "postfix is not installed";
  return dovecotMissing();
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function startForeignMail(options: ForeignMailOptions): Promise<ForeignMail> {
  const dovecot = await startDovecot();
  for (const name of options.accounts) dovecot.fill(name, []);
  const folder = mkdtempSync(join(tmpdir(), "ringpost-postfix-"));
  chmodSync(folder, 0o755);
  makeFolders(folder);
  configure(folder, options, dovecot);
  const smtp = `127.0.0.1:${options.port}`;
  const child = spawn(master, ["-d", "-c", join(folder, "conf")], { stdio: "ignore" });
  endWithUs(child);
  const log = (): string => readLog(join(folder, "log", "postfix.log"));
  const stop = async (): Promise<void> => {
    await end(child);
    await dovecot.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    await waitUntil(
      async () => {
        if (child.exitCode !== null) throw new Error(`Postfix ended: ${log()}`);
        await (await SmtpClient.connect(smtp)).quit();
        return true;
      },
      { deadlineMs: 30_000, what: `Postfix at ${smtp}`, everyMs: 100 },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { smtp, pop3: dovecot.pop3, password: dovecot.password, log, stop };
}

const idOf = (flag: "-u" | "-g", name: string): number =>
  Number(execFileSync("id", [flag, name]).toString());

/** As postfix-files(5) has them. */
function makeFolders(folder: string): void {
  const postfix = idOf("-u", "postfix");
  const postdrop = Number(
    /^postdrop:[^:]*:(\d+)/m.exec(readFileSync("/etc/group", "utf8"))?.[1] ?? 0,
  );
  for (const name of ["conf", "log", "queue", "queue/pid"]) mkdirSync(join(folder, name));
  const own = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"];
  own.push("private", "saved", "trace");
  for (const name of ["data", ...own.map((each) => `queue/${each}`)]) {
    mkdirSync(join(folder, name), { mode: 0o700 });
    chownSync(join(folder, name), postfix, idOf("-g", "postfix"));
  }
  for (const [name, mode] of [
    ["maildrop", 0o1730],
    ["public", 0o2710],
  ] as const) {
    mkdirSync(join(folder, "queue", name));
    chownSync(join(folder, "queue", name), postfix, postdrop);
    chmodSync(join(folder, "queue", name), mode);
  }
}

function configure(folder: string, options: ForeignMailOptions, { homes, sasl }: Dovecot): void {
  const { accounts, ringSmtp, port } = options;
  const conf = join(folder, "conf");
  const [host = "", ringPort = ""] = ringSmtp.split(":");
  const boxes = accounts.map((name) => `${name}@${foreignDomain} ${name}/Maildir/\n`).join("");
  writeFileSync(join(conf, "mailboxes"), boxes);
  writeFileSync(join(conf, "transport"), `ring.test smtp:[${host}]:${ringPort}\n`);
  writeFileSync(join(conf, "main.cf"), mainCf(folder, homes, sasl));
  writeFileSync(join(conf, "master.cf"), masterCf(port));
}

const mainCf = (folder: string, homes: string, sasl: string): string => `
compatibility_level = 3.6
queue_directory = ${folder}/queue
data_directory = ${folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = ${folder}/log/postfix.log
maillog_file_prefixes = ${folder}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = mail.${foreignDomain}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = ${foreignDomain}
virtual_mailbox_base = ${homes}
virtual_mailbox_maps = texthash:${folder}/conf/mailboxes
virtual_uid_maps = static:${nobody}
virtual_gid_maps = static:${nobody}
virtual_minimum_uid = 100
recipient_delimiter = +
relay_domains = ring.test
transport_maps = texthash:${folder}/conf/transport
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = ${sasl}
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
smtp_host_lookup = native
message_size_limit = 52428800
virtual_mailbox_limit = 0
mailbox_size_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtpd_client_connection_count_limit = 0
`;

const masterCf = (port: number): string => `
127.0.0.1:${port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`;

/** The master ends its own; by its process group, in case it can't. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  await within(exited, 20_000, "Postfix to end");
}

function readLog(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
