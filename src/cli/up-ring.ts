/** The members of `chord up` as processes, and what is said about them. */
import { CliError } from "./errors.js";
import type { MemberInfo } from "./parent-link.js";
import { Supervisor, type SupervisorEvent, type SupervisorTimings } from "./supervisor.js";
import type { PlannedMember } from "./up-plan.js";
import type { World } from "./world.js";

export interface UpRingOptions {
  readonly self: World["self"];
  readonly say: (line: string) => void;
  readonly timings?: Partial<SupervisorTimings>;
}

/** From here on an end is not called an accident any more. */
const crashLoopFailures = 4;

export class UpRing {
  readonly #supervisors: Supervisor[] = [];

  constructor(private readonly options: UpRingOptions) {}

  /**
   * Starts a member and keeps it running. Resolves when it is ready for the first time.
   * @throws CliError with the member's own words when it ends before that
   */
  start(member: PlannedMember, entries: readonly string[]): Promise<MemberInfo> {
    const { self, timings } = this.options;
    return new Promise((resolve, reject) => {
      let wasReady = false;
      const supervisor = new Supervisor({
        command: self.command,
        args: [...self.args, ...member.args, ...entries.flatMap((entry) => ["--entry", entry])],
        logFile: member.logFile,
        ...(timings === undefined ? {} : { timings }),
        onEvent: (event) => {
          if (event.kind === "ready" && !wasReady) {
            wasReady = true;
            resolve(event.info);
          } else if (event.kind !== "ready" && !wasReady) {
            supervisor.kill();
            reject(new CliError(startInWords(member, event)));
          } else this.options.say(inWords(member, event));
        },
      });
      this.#supervisors.push(supervisor);
      supervisor.start();
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
  }

  kill(): void {
    for (const supervisor of this.#supervisors) supervisor.kill();
  }
}

function startInWords({ number, logFile }: PlannedMember, event: SupervisorEvent): string {
  const reason = event.kind === "ended" ? event.reason : "it left the ring";
  return `node ${number} could not start: ${reason} (log: ${logFile})`;
}

function inWords({ number, logFile }: PlannedMember, event: SupervisorEvent): string {
  switch (event.kind) {
    case "ready":
      return `node ${number} is ready again`;
    case "left":
      return `node ${number} has left the ring and is not started again`;
    case "ended": {
      const seconds = (event.againInMs / 1_000).toFixed(1);
      const again = `starting it again in ${seconds} s`;
      if (event.failures < crashLoopFailures) {
        return `node ${number} ended (${event.reason}); ${again}`;
      }
      const times = `${event.failures} times in a row`;
      return `node ${number} keeps ending, ${times} (${event.reason}); see ${logFile}; ${again}`;
    }
  }
}
