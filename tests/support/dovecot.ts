/** Dovecot's POP3 server as a process of its own, with accounts in a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endWithUs, hasProgram } from "./process.js";
import { waitUntil, within } from "./wait.js";
import { Wire } from "./wire.js";

/** Debian's `nobody`: Dovecot serves no mail of root. */
const nobody = 65_534;

export interface Dovecot {
  /** `host:port` of the POP3 listener. */
  readonly pop3: string;
  /** Of every account. */
  readonly password: string;
  /** Path of the socket where a mail server asks whether a password is right (Dovecot's SASL). */
  readonly sasl: string;
  /** A folder for each account, with its `Maildir` in it. */
  readonly homes: string;
  /** Makes an account; its mails are numbered in the order given. */
  fill(user: string, mails: readonly Buffer[]): void;
  remove(user: string): void;
  stop(): Promise<void>;
}

/** Why there can be none here; undefined when there can. */
export function dovecotMissing(): string | undefined {
  if (!hasProgram("dovecot")) return "dovecot-pop3d is not installed";
  if (process.getuid?.() !== 0) return "Dovecot's master process needs root";
  const version = execFileSync("dovecot", ["--version"]).toString().trim();
  // 2.4 has another language of configuration.
  return /^2\.3\./.test(version) ? undefined : `needs Dovecot 2.3, found ${version}`;
}

export async function startDovecot(): Promise<Dovecot> {
  const folder = mkdtempSync(join(tmpdir(), "ringpost-dovecot-"));
  chmodSync(folder, 0o755);
  const homes = join(folder, "home");
  mkdirSync(homes);
  const port = await freePort();
  const pop3 = `127.0.0.1:${port}`;
  const password = "secret";
  const conf = join(folder, "dovecot.conf");
  writeFileSync(conf, configuration(folder, port, password));
  const child = spawn("dovecot", ["-F", "-c", conf], { stdio: ["ignore", "ignore", "pipe"] });
  endWithUs(child);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await listening(pop3, child, folder);
  return {
    ...{ pop3, password, homes, sasl: join(folder, "sasl") },
    fill: (user, mails) => fillMaildir(join(homes, user), mails),
    remove(user) {
      try {
        rmSync(join(homes, user), { recursive: true, force: true });
      } catch {
        // A session that is ending writes there still; the rest goes with the folder.
      }
    },
    async stop() {
      child.kill("SIGTERM");
      await within(exited, 20_000, "Dovecot to end");
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

function configuration(folder: string, port: number, password: string): string {
  return `
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
passdb {
  driver = static
  args = password=${password}
}
userdb {
  driver = static
  args = uid=${nobody} gid=${nobody} home=${folder}/home/%u
}
first_valid_uid = ${nobody}
last_valid_uid = ${nobody}
first_valid_gid = ${nobody}
mail_location = maildir:~/Maildir
maildir_very_dirty_syncs = no
mail_max_userip_connections = 0
namespace inbox {
  inbox = yes
}
service pop3-login {
  chroot =
  service_count = 0
  inet_listener pop3 {
    port = ${port}
  }
  inet_listener pop3s {
    port = 0
  }
}
service pop3 {
  service_count = 1000
}
service auth {
  unix_listener ${folder}/sasl {
    mode = 0666
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`;
}

async function listening(pop3: string, child: ChildProcess, folder: string): Promise<void> {
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const log = () => {
    try {
      return readFileSync(join(folder, "log"), "utf8");
    } catch {
      return "";
    }
  };
  await waitUntil(
    async () => {
      if (child.exitCode !== null) throw new Error(`Dovecot ended: ${stderr}${log()}`);
      const wire = await Wire.connect(pop3);
      const greeting = await wire.line().finally(() => wire.destroy());
      return greeting.startsWith("+OK");
    },
    { deadlineMs: 60_000, what: `Dovecot at ${pop3}`, everyMs: 50 },
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function fillMaildir(home: string, mails: readonly Buffer[]): void {
  const maildir = join(home, "Maildir");
  const folders = [home, maildir, ...["cur", "new", "tmp"].map((name) => join(maildir, name))];
  for (const folder of folders) {
    mkdirSync(folder);
    chownSync(folder, nobody, nobody);
  }
  for (const [index, mail] of mails.entries()) {
    // Numbers are given in the order of names.
    const file = join(maildir, "cur", `${1_700_000_000 + index}.M${index}P1.test:2,`);
    writeFileSync(file, mail);
    chownSync(file, nobody, nobody);
  }
}
