/** `chord mail` without more: mail, contacts and chats in a terminal. */
import { createMailViewer, type MailViewer } from "../mail-view/viewer.js";
import { endOnBug } from "./bug.js";
import { chooseEntry } from "./entry.js";
import { usageError } from "./errors.js";
import { type MailPortOptions, serversOf } from "./mail-ports.js";
import { mailStore } from "./sdk-session.js";
import { createEffects } from "./terminal/effects.js";
import { firstState, type Event, type State } from "./terminal/state.js";
import { openWindow } from "./terminal/terminal.js";
import { update } from "./terminal/update.js";
import { view } from "./terminal/view.js";
import { stopRequests } from "./stop-requests.js";
import type { World } from "./world.js";

export interface TerminalOptions extends MailPortOptions {
  readonly server?: string;
  readonly user?: string;
  readonly store?: string;
  readonly insecureCertificate?: boolean;
}

const tickMs = 1_000;

/** Runs until it is left. @throws CliError where there is no terminal */
export async function mailTerminal(
  world: World,
  options: TerminalOptions,
  viewer: MailViewer = createMailViewer(),
): Promise<void> {
  const { stdin, stdout, env, output } = world;
  if (!stdin.isTTY || stdout?.isTTY !== true) {
    throw usageError(
      "chord mail needs a terminal; scripts use chord mail list, chord mail read, chord pub and so on",
    );
  }
  if (env["TERM"] === "dumb")
    throw usageError("chord mail needs a terminal that can more than TERM=dumb");
  const server = options.server ?? (await chooseEntry(world, {}));
  const named = await serversOf(world, { ...options, server });
  let state: State = firstState({
    server,
    ...(options.user !== undefined && { user: options.user }),
  });
  const ended = new AbortController();
  let end: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const effects = createEffects({
    connect: (connect) =>
      world.ringpost({
        ...connect,
        // Ports that were named are those of the member that was named with them.
        ...(connect.servers[0] === server && { servers: named }),
        ...(options.insecureCertificate === true && { tls: { rejectUnauthorized: false } }),
      }),
    storeFor: (at, user) => options.store ?? mailStore(world, at, user),
    ...{ viewer, signal: ended.signal },
    tell: (event) => tell(event),
  });
  const window = openWindow(
    { stdin, stdout, color: output.color },
    { onInput: (event) => tell(event), onResize: () => draw(), onEnd: () => end() },
  );
  // What a bug says is to be read on the screen that stays.
  for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, window.leave);
  endOnBug(output, { fatal: () => undefined });
  const draw = (): void => window.show(view(state, window.size()));
  function tell(event: Event): void {
    const step = update(state, event);
    state = step.state;
    if (state.isOver) return end();
    for (const effect of step.effects) effects.run(effect);
    draw();
  }
  const timer = setInterval(() => tell({ kind: "tick" }), tickMs);
  const stop = stopRequests((code) => process.exit(code));
  try {
    draw();
    await Promise.race([over, stop.requested]);
  } finally {
    clearInterval(timer);
    window.leave();
    stop.release();
    ended.abort();
    await effects.close();
  }
}
