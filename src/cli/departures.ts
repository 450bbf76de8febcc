/** Taking members out: `leave` while they run, `evict` when they don't. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  AdminError,
  type DepartureReply,
  type EvictReply,
  type MemberStatus,
  type StatusReply,
} from "../shared/admin.js";
import { counted, percent, progress, whole } from "./amounts.js";
import { type Entry, type EntryOptions, isUnanswered, openEntry } from "./entry.js";
import { CliError, exitCodes } from "./errors.js";
import { nameOf, shortId } from "./table.js";
import type { World } from "./world.js";

const pollIntervalMs = 500;
/** Copying may take long; this long without any progress is not worth waiting for. */
const stalledMs = 10 * 60_000;
/** Silent members that are needed for so long will not come by themselves. */
const silentMs = 5_000;

export async function leave(
  world: World,
  options: EntryOptions & { readonly id?: string; readonly force?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const { members, ring } = await entry.ask("status", {});
  const id = options.id === undefined ? undefined : memberId(options.id, { members, ring });
  const begun = await entry.ask("leave", {
    ...(id !== undefined && { id }),
    ...(options.force === true && { force: true }),
  });
  world.output.note(`member ${begun.id} is leaving: its data is copied to the others first`);
  const askable = everybody(entry, members);
  const gone = (signal: AbortSignal) => untilGone(world, askable, { id: begun.id, signal });
  await interruptible(gone, `member ${begun.id} goes on leaving`);
  world.output.line(`member ${begun.id} has left the ring`);
}

/** The member that leaves may be the one that was asked; the others know when it is gone. */
function everybody(entry: Entry, members: readonly MemberStatus[]): readonly Entry[] {
  const others = members.filter(({ state, addr }) => state === "active" && addr !== entry.addr);
  return [entry, ...others.map(({ addr }) => entry.at(addr))];
}

/** Ctrl-C ends the command, not what it has set going; it says so. @throws CliError */
async function interruptible(
  run: (signal: AbortSignal) => Promise<void>,
  whatGoesOn: string,
): Promise<void> {
  const interrupted = new AbortController();
  const onSignal = (): void => interrupted.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    await run(interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    const text = `interrupted; ${whatGoesOn}: watch chord status`;
    throw new CliError(text, exitCodes.cancelled);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

async function untilGone(
  world: World,
  askable: readonly Entry[],
  { id, signal }: { readonly id: string; readonly signal: AbortSignal },
): Promise<void> {
  let shown = "";
  let silentFor = 0;
  for (let still = 0; still < stalledMs; still += pollIntervalMs) {
    const { done, copying, waitingFor } = await firstAnswer(askable, id);
    if (done) return;
    const text = copying.mailboxesTotal === 0 ? "" : progress(copying);
    if (text !== shown) {
      shown = text;
      still = 0;
      world.output.note(text);
    }
    silentFor = waitingFor.length > 0 ? silentFor + pollIntervalMs : 0;
    if (silentFor >= silentMs) throw new CliError(needed(waitingFor));
    await sleep(pollIntervalMs, undefined, { signal });
  }
  throw new CliError(`no progress for 10 minutes (${shown}); it goes on: watch chord status`);
}

function needed(silent: DepartureReply["waitingFor"]): string {
  const [names, ids] = [silent.map(nameOf).join(", "), silent.map(({ id }) => id).join(" ")];
  const verb = silent.length === 1 ? "does" : "do";
  return (
    `the change waits for what only silent members have: ${names} ${verb} not answer; start ` +
    `them and it goes on by itself, or give up what only they have: chord evict ${ids} --force`
  );
}

async function firstAnswer(askable: readonly Entry[], id: string): Promise<DepartureReply> {
  let unanswered: AdminError | undefined;
  for (const entry of askable) {
    try {
      return await entry.ask("leaveProgress", { id });
    } catch (error) {
      if (!isUnanswered(error, entry.addr)) throw error;
      unanswered ??= error;
    }
  }
  throw unanswered ?? new CliError("there is nobody to ask");
}

export async function evict(
  world: World,
  texts: readonly string[],
  options: EntryOptions & { readonly force?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const status = await entry.ask("status", {});
  const wanted = texts.map((text) => memberId(text, status));
  const reply = await entry.ask("evict", { ids: wanted, force: options.force === true });
  const who =
    reply.ids.length === 1
      ? `member ${reply.ids[0] ?? ""} is`
      : `members ${reply.ids.join(" and ")} are`;
  world.output.line(`${who} evicted (roster epoch ${reply.epoch}); its copies are made anew`);
  if (reply.lost) for (const line of lossInWords(reply.lost)) world.output.line(line);
  const askable = everybody(entry, status.members);
  await interruptible(async (signal) => {
    for (const id of reply.ids) await untilGone(world, askable, { id, signal });
  }, "the copies are still being made");
  world.output.line("Every key has all the copies that this ring can give it.");
}

function lossInWords(lost: NonNullable<EvictReply["lost"]>): string[] {
  const { keys, withoutQuorum, shareWithoutCopy } = lost;
  const lines = [
    withoutQuorum === 0
      ? `Nothing is lost: of all ${counted(keys, "key")} enough copies are left.`
      : `! ${whole(withoutQuorum)} of ${counted(keys, "key")} had no majority of living copies: ` +
        "what only the evicted had is given up.",
  ];
  if (shareWithoutCopy > 0) {
    const share = percent(shareWithoutCopy, 1);
    lines.push(
      `! No copy is left of ${share} of the circle: the mailboxes and accounts there are gone.`,
    );
  }
  return lines;
}

/**
 * The decimal id of the member that was meant: by its id, by the short id that `status` shows, or
 * by its address.
 * @throws AdminError when nobody or several were meant
 */
export function memberId(text: string, status: Pick<StatusReply, "members" | "ring">): string {
  const { members, ring } = status;
  const exact = /^(\d{1,64}|0x[0-9a-f]{1,64})$/i.test(text) ? BigInt(text).toString() : text;
  const start = text.replace(/…$/, "").toLowerCase();
  const byId = members.filter(({ id }) => id === exact);
  const byLook = members.filter(
    ({ id, addr }) => addr === text || shortId(id, ring.bits).replace(/…$/, "") === start,
  );
  const [first, second] = byId.length > 0 ? byId : byLook;
  if (first !== undefined && second === undefined) return first.id;
  const known = members.map(({ id, addr }) => `${id} (${addr})`).join(", ");
  const what = first === undefined ? "there is no member" : "there are several members";
  throw new AdminError("unknown", `${what} "${text}"; the members are ${known}`);
}
