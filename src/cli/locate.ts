import type { LocateReply } from "../shared/admin.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { type Column, formatTable, nameOf } from "./table.js";
import type { World } from "./world.js";

export async function locate(
  world: World,
  address: string,
  options: EntryOptions & { readonly json?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("locate", { address });
  if (options.json === true) world.output.line(JSON.stringify(reply));
  else for (const line of describeLocation(reply)) world.output.line(line);
}

const accountInWords = {
  exists: "the account exists",
  unknown: "there is no such account",
  undecided: "too few members answer to tell whether the account exists",
} as const;

function describeLocation(reply: LocateReply): string[] {
  const { mailbox, key, account, copies, equal } = reply;
  const rows = copies.map((copy) => [
    nameOf(copy),
    copy.inGroup ? "group" : "former holder",
    ...(copy.answered
      ? [String(copy.messages), String(copy.tombstones), copy.digest.slice(0, 12)]
      : ["?", "?", "no answer"]),
  ]);
  const columns: Column[] = [
    { title: "member" },
    { title: "role" },
    { title: "mails", align: "right" },
    { title: "deleted", align: "right" },
    { title: "digest" },
  ];
  return [
    `${mailbox}: ${accountInWords[account]}; key ${key}`,
    ...formatTable(columns, rows),
    equal ? "All copies are equal." : unequalInWords(copies),
  ];
}

function unequalInWords(copies: LocateReply["copies"]): string {
  const silent = copies.filter((copy) => copy.inGroup && !copy.answered).map(nameOf);
  if (silent.length === 0) return "! The copies differ; repair is making them equal.";
  return `! ${silent.join(", ")} did not answer; what it lacks is sent when it is back.`;
}
