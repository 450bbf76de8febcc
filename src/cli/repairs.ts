/** Making copies whole: `repair` compares and checks, `restore` brings back. */
import type { RepairCursor, RepairedCopy, RepairReply } from "../shared/admin.js";
import { counted } from "./amounts.js";
import { memberId } from "./departures.js";
import { type Entry, type EntryOptions, openEntry } from "./entry.js";
import { CliError } from "./errors.js";
import { nameOf } from "./table.js";
import type { World } from "./world.js";

type Totals = Map<string, RepairedCopy>;

export async function repair(
  world: World,
  address: string | undefined,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const totals: Totals = new Map();
  let count = 0;
  const names = address === undefined ? allMailboxes(entry) : [address];
  for await (const name of names) {
    const copies = await repairOne(entry, { address: name });
    count += 1;
    for (const copy of copies.values()) {
      add(totals, copy);
      if (address === undefined && copy.unhealed.length > 0) world.output.line(badNews(name, copy));
    }
    if (count % 100 === 0) world.output.note(`${counted(count, "mailbox", "mailboxes")} checked`);
  }
  if (address === undefined) {
    world.output.line(`${counted(count, "mailbox", "mailboxes")} checked`);
  }
  report(world, totals, "repaired");
}

async function* allMailboxes(entry: Entry): AsyncIterable<string> {
  for (let after = "", more = true; more; ) {
    const page = await entry.ask("mailboxes", { after });
    yield* page.names;
    after = page.names.at(-1) ?? "";
    more = page.more && page.names.length > 0;
  }
}

async function repairOne(
  entry: Entry,
  args: { readonly address: string; readonly from?: string },
): Promise<Totals> {
  const totals: Totals = new Map();
  let cursor: RepairCursor | undefined;
  do {
    const reply: RepairReply = await entry.ask("repair", { ...args, ...(cursor && { cursor }) });
    for (const copy of reply.members) add(totals, copy);
    ({ cursor } = reply);
  } while (cursor);
  return totals;
}

function add(totals: Totals, copy: RepairedCopy): void {
  const before = totals.get(copy.id);
  if (!before) return void totals.set(copy.id, copy);
  totals.set(copy.id, {
    ...copy,
    answered: before.answered && copy.answered,
    messages: before.messages + copy.messages,
    tombstones: before.tombstones + copy.tombstones,
    sound: before.sound + copy.sound,
    healed: before.healed + copy.healed,
    unhealed: [...before.unhealed, ...copy.unhealed],
  });
}

/** @throws CliError when something could not be done */
function report(world: World, totals: Totals, done: string): void {
  const copies = [...totals.values()];
  for (const copy of copies) {
    world.output.line(inWords(copy));
    for (const id of copy.unhealed) {
      world.output.line(`! ${id}: no member has its body in sound condition`);
    }
  }
  const silent = copies.filter(({ answered }) => !answered);
  if (silent.length > 0) {
    const names = silent.map(nameOf).join(", ");
    throw new CliError(`not all is ${done}: ${names} did not answer; start it and repeat this`);
  }
  const damaged = copies.reduce((sum, { unhealed }) => sum + unhealed.length, 0);
  if (damaged > 0) {
    throw new CliError(
      `${counted(damaged, "body", "bodies")} could not be healed: start members that are down, ` +
        "they may have sound ones, and repeat this",
    );
  }
  world.output.line(`All copies are ${done}.`);
}

function inWords(copy: RepairedCopy): string {
  if (!copy.answered) return `${nameOf(copy)}: no answer`;
  const parts: string[] = [];
  if (copy.messages > 0) parts.push(`${counted(copy.messages, "mail")} copied to it`);
  if (copy.tombstones > 0) parts.push(`${counted(copy.tombstones, "deletion")} taken over`);
  if (copy.healed > 0) parts.push(`${counted(copy.healed, "body", "bodies")} healed`);
  if (parts.length === 0) parts.push("nothing lacked");
  parts.push(`${counted(copy.sound, "body", "bodies")} sound`);
  return `${nameOf(copy)}: ${parts.join(", ")}`;
}

const badNews = (mailbox: string, { addr, unhealed }: RepairedCopy): string =>
  `! ${mailbox}: ${counted(unhealed.length, "body", "bodies")} can't be healed at ${addr}`;

const messageIdShape = /^[0-9a-f]{32}$/i;

export async function restore(
  world: World,
  what: string,
  options: EntryOptions & { readonly from: string },
): Promise<void> {
  const entry = await openEntry(world, options);
  const from = memberId(options.from, await entry.ask("status", {}));
  if (!messageIdShape.test(what)) {
    report(world, await repairOne(entry, { address: what, from }), "whole");
    return;
  }
  const message = what.toLowerCase();
  const { mailbox, id, stored, wanted } = await entry.ask("restoreMessage", { message, from });
  world.output.line(`${mailbox} has the message again, as ${id} (stored=${stored}/${wanted})`);
}
