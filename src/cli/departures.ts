/** Taking members out: `leave` while they run, `evict` when they don't. */
import { setTimeout as sleep } from "node:timers/promises";
import { AdminError, type StatusReply } from "../shared/admin.js";
import { type Entry, type EntryOptions, isUnanswered, openEntry } from "./entry.js";
import { CliError } from "./errors.js";
import { shortId } from "./table.js";
import type { World } from "./world.js";

const pollIntervalMs = 500;
/** Copying may take long; this long without any progress is not worth waiting for. */
const stalledMs = 10 * 60_000;

export async function leave(
  world: World,
  options: EntryOptions & { readonly id?: string },
): Promise<void> {
  const entry = await openEntry(world, options);
  const { members, ring } = await entry.ask("status", {});
  const id = options.id === undefined ? undefined : memberId(options.id, { members, ring });
  const begun = await entry.ask("leave", id === undefined ? {} : { id });
  world.output.note(`member ${begun.id} is leaving: its data is copied to the others first`);
  // The member that leaves may be the one we asked; the others know when it is gone.
  const others = members.filter(({ state, addr }) => state === "active" && addr !== entry.addr);
  const askable = [entry, ...others.map(({ addr }) => entry.at(addr))];
  await untilGone(world, askable, begun.id);
  world.output.line(`member ${begun.id} has left the ring`);
}

async function untilGone(world: World, askable: readonly Entry[], id: string): Promise<void> {
  let shown = "";
  for (let still = 0; still < stalledMs; still += pollIntervalMs) {
    const { done, detail } = await firstAnswer(askable, id);
    if (done) return;
    if (detail !== shown) {
      shown = detail;
      still = 0;
      world.output.note(detail);
    }
    await sleep(pollIntervalMs);
  }
  throw new CliError(`no progress for 10 minutes (${shown}); it goes on: watch chord status`);
}

async function firstAnswer(
  askable: readonly Entry[],
  id: string,
): Promise<{ readonly done: boolean; readonly detail: string }> {
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
  id: string,
  options: EntryOptions & { readonly force?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const wanted = memberId(id, await entry.ask("status", {}));
  const reply = await entry.ask("evict", { id: wanted, force: options.force === true });
  world.output.line(
    `member ${reply.id} is evicted (roster epoch ${reply.epoch}); its copies are made anew`,
  );
}

/**
 * The decimal id of the member that was meant: by its id, by the short id that `status` shows, or
 * by its address.
 * @throws AdminError when nobody or several were meant
 */
function memberId(text: string, status: Pick<StatusReply, "members" | "ring">): string {
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
