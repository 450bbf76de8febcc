/**
 * Debian's RabbitMQ as processes of our own: own node name, ports, Mnesia directory and epmd, all on
 * loopback, all ended by pid. The system's configuration is neither read nor touched.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as amqp from "amqplib";
import { endWithUs, hasProgram } from "./process.js";
import { waitUntil, within } from "./wait.js";

export interface RabbitMq {
  /** With the version. */
  readonly name: string;
  readonly url: string;
  /** Of all its processes. */
  readonly group: number;
  connect(): Promise<amqp.ChannelModel>;
  stop(): Promise<void>;
}

const library = "/usr/lib/rabbitmq/lib";
const versionPattern = /^rabbitmq_server-(\d+\.\d+\.\d+)/;

/** The server's own folder: Debian's wrapper becomes another user, and reads /etc. */
function installed(): { readonly folder: string; readonly version: string } | undefined {
  try {
    const found = readdirSync(library).find((name) => versionPattern.test(name));
    const version = versionPattern.exec(found ?? "")?.[1];
    return found !== undefined && version !== undefined
      ? { folder: join(library, found), version }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Why there can be none here; undefined when there can. */
export function rabbitMissing(): string | undefined {
  if (installed() === undefined) return "rabbitmq-server is not installed";
  return hasProgram("epmd") ? undefined : "epmd (erlang-base) is not installed";
}

export async function startRabbitMq(): Promise<RabbitMq> {
  const { folder: home, version } = installed() ?? { folder: "", version: "" };
  const folder = mkdtempSync(join(tmpdir(), "ringpost-rabbit-"));
  const [port, distribution, mapper] = await Promise.all([freePort(), freePort(), freePort()]);
  const conf = join(folder, "rabbitmq.conf");
  // Of the machine's memory and disk others have their share, too: no alarm may block publishers.
  const settings = ["listeners.tcp.1 = 127.0.0.1:PORT", "disk_free_limit.absolute = 1MB"];
  settings.push("vm_memory_high_watermark.absolute = 1GB", "log.file.level = warning");
  writeFileSync(conf, `${settings.join("\n").replace("PORT", String(port))}\n`);
  writeFileSync(join(folder, "plugins"), "[].\n");
  mkdirSync(join(folder, "log"));
  const env = {
    ...process.env,
    HOME: folder,
    ERL_EPMD_PORT: String(mapper),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `ringpost${process.pid}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_CONFIG_FILE: conf,
    RABBITMQ_CONF_ENV_FILE: join(folder, "none"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "none.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_PID_FILE: join(folder, "pid"),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
  };
  // Ours, in the foreground: else Erlang starts one that outlives everything.
  const epmd = spawn("epmd", ["-port", String(mapper)], { env, stdio: "ignore" });
  endWithUs(epmd);
  const script = join(home, "sbin", "rabbitmq-server");
  // A group of its own, so that what the script starts ends with it.
  const broker = spawn(script, [], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  endWithUs(broker);
  const endGroup = (): void => killGroup(broker);
  process.once("exit", endGroup);
  const said = gather(broker);
  const url = `amqp://guest:guest@127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    const exited = exitOf(broker);
    endGroup();
    process.removeListener("exit", endGroup);
    await within(exited, 30_000, "RabbitMQ to end");
    const mapperExited = exitOf(epmd);
    epmd.kill("SIGKILL");
    await within(mapperExited, 10_000, "epmd to end");
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    await waitUntil(
      async () => {
        if (broker.exitCode !== null) throw new Error(`RabbitMQ ended: ${said()}`);
        await (await amqp.connect(url)).close();
        return true;
      },
      { deadlineMs: 60_000, what: `RabbitMQ at ${url}`, everyMs: 200 },
    );
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
  const group = broker.pid ?? 0;
  return { name: `RabbitMQ ${version}`, url, group, connect: () => dial(url), stop };
}

async function dial(url: string): Promise<amqp.ChannelModel> {
  const connection = await amqp.connect(url);
  // Whoever waits for something on it is told; a broker that is ended breaks it in any case.
  connection.on("error", () => undefined);
  return connection;
}

/** SIGKILL: its data is of no use to anybody afterwards. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

const exitOf = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", () => resolve());
  });

function gather({ stdout, stderr }: ChildProcess): () => string {
  let text = "";
  for (const stream of [stdout, stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      text = `${text}${chunk.toString()}`.slice(-4_000);
    });
  }
  return () => text;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
