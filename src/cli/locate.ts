import type { LocateReply } from "../shared/admin.js";
import { counted } from "./amounts.js";
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
  alias: "an alias, so its mail lies elsewhere",
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
    ...(equal ? [] : [behind(copy)]),
  ]);
  const columns: Column[] = [
    { title: "member" },
    { title: "role" },
    { title: "mails", align: "right" },
    { title: "deleted", align: "right" },
    { title: "digest" },
    ...(equal ? [] : [{ title: "against all copies together" }]),
  ];
  return [
    `${mailbox}: ${accountInWords[account]}; key ${key}`,
    ...formatTable(columns, rows),
    equal ? "All copies are equal." : unequalInWords(copies),
  ];
}

function unequalInWords(copies: LocateReply["copies"]): string {
  const silent = copies.filter((copy) => copy.inGroup && !copy.answered).map(nameOf);
  if (silent.length === 0)
    return "! The copies differ; they are being made equal (at once: chord repair ADDRESS).";
  return `! ${silent.join(", ")} did not answer; what it lacks is sent when it is back.`;
}

function behind({ answered, lacks }: LocateReply["copies"][number]): string {
  if (!answered) return "";
  if (!lacks) return "has everything";
  const parts: string[] = [];
  if (lacks.messages > 0) parts.push(counted(lacks.messages, "mail"));
  if (lacks.tombstones > 0) parts.push(counted(lacks.tombstones, "deletion"));
  return `behind by ${parts.join(" and ")}`;
}
