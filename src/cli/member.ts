/** `chord` without a command: one member in the foreground, from its start to its end. */
import type { Logger } from "pino";
import { type FlagTexts, loadNodeConfig, type NodeConfig } from "../config/index.js";
import type { RunningNode } from "../node.js";
import { endOnBug } from "./bug.js";
import { CliError, exitCodes, oneLine } from "./errors.js";
import { createLog } from "./log.js";
import { type ParentLink, parentLink } from "./parent-link.js";
import { startFailure } from "./start-failure.js";
import { stopRequests } from "./stop-requests.js";
import type { World } from "./world.js";

type StartNode = (config: NodeConfig, log: Logger) => Promise<RunningNode>;

interface MemberOptions {
  readonly confPath?: string | undefined;
}

/** A member that takes longer to drain is ended: whoever stops it was promised 30 s. */
const drainDeadlineMs = 25_000;

/** Runs until the member is stopped, has left or has failed; returns the exit code. */
export async function runMember(
  world: World,
  flags: FlagTexts,
  { confPath }: MemberOptions,
): Promise<number> {
  const parent = parentLink();
  try {
    const config = await loadNodeConfig(withVariables(flags, world.env), { confPath });
    const { startNode } = await import("../node.js");
    return await serve({ config, world, parent, startNode });
  } catch (error) {
    if (error instanceof Error) parent.report({ kind: "failed", line: oneLine(error.message) });
    throw error;
  }
}

/** What is better not seen in a list of processes may come by the environment. */
function withVariables(flags: FlagTexts, env: World["env"]): FlagTexts {
  const { RINGPOST_TOKEN: token, RINGPOST_CREDENTIALS: credentials } = env;
  return {
    ...(token !== undefined && token !== "" && { token: [token] }),
    ...(credentials !== undefined && credentials !== "" && { credentials: [credentials] }),
    ...flags,
  };
}

interface Serving {
  readonly config: NodeConfig;
  readonly world: World;
  readonly parent: ParentLink;
  readonly startNode: StartNode;
}

async function serve({ config, world, parent, startNode }: Serving): Promise<number> {
  const log = createLog(config.logLevel, world.output);
  endOnBug(world.output, log);
  const stop = stopRequests((code) => process.exit(code));
  parent.onStop(() => stop.request("the ring it belongs to has ended"));
  const start = startNode(config, log);
  // A member that is told to stop while it joins has nothing to drain; its journal is safe.
  const node = await Promise.race([start, stop.requested]).catch((error: unknown) => {
    log.debug({ err: error }, "start failed");
    throw startFailure(error, config);
  });
  if (typeof node === "string") return exitCodes.ok;
  log.info(node.info, "ready");
  parent.report({ kind: "ready", info: node.info });
  const end = await Promise.race([
    stop.requested.then((reason) => ({ kind: "stopped" as const, reason })),
    node.left.then(() => ({ kind: "left" as const, reason: "left the ring" })),
    node.failed.then((error) => ({ kind: "failed" as const, error })),
  ]);
  if (end.kind === "left") parent.report({ kind: "left" });
  if (end.kind === "failed") log.fatal({ err: end.error }, "the member can't go on");
  else log.info({ reason: end.reason }, "stopping");
  await drained(node, log);
  if (end.kind !== "failed") return exitCodes.ok;
  throw new CliError(`the member can't go on: ${end.error.message}`, exitCodes.failed);
}

async function drained(node: RunningNode, log: Logger): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), drainDeadlineMs);
  });
  const outcome = await Promise.race([node.stop(), deadline]);
  clearTimeout(timer);
  if (outcome === "late")
    log.warn({ drainDeadlineMs }, "gave up draining; what was promised is on disk");
  else log.info({}, "stopped");
}
