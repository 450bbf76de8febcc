/** `chord user show`, `quota`, `disable` and `enable`. */
import type { QuotaReply, UserReply } from "../shared/admin.js";
import { quotaBound } from "./amount-arguments.js";
import { counted, size } from "./amounts.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { usageError } from "./errors.js";
import type { World } from "./world.js";

export async function showUser(
  world: World,
  name: string,
  options: EntryOptions & { readonly json?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("userShow", { name });
  if (options.json === true) world.output.line(JSON.stringify(reply));
  else for (const line of describeUser(reply)) world.output.line(line);
  if (!reply.complete) world.output.note("too few members answered: aliases may be missing here");
}

function describeUser(reply: UserReply): string[] {
  const { mailbox, disabled, createdAtMs, quota, usage, appPasswords, aliases } = reply;
  const holds = usage ? amountInWords(usage) : "unknown, too few members answer";
  return [
    mailbox,
    `  state          ${disabled ? "disabled: no logins, no mail" : "active"}`,
    `  created        ${dateInWords(createdAtMs)}`,
    `  holds          ${holds}`,
    `  quota          ${quotaInWords(quota)}`,
    ...list(
      "app passwords",
      appPasswords.map(({ id, label }) => `${label} (${id})`),
    ),
    ...list("aliases", aliases),
  ];
}

function list(title: string, items: readonly string[]): string[] {
  const shown = items.length === 0 ? ["none"] : items;
  return shown.map((item, index) => `  ${(index === 0 ? title : "").padEnd(14)} ${item}`);
}

const dateInWords = (ms: number): string =>
  `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;

function amountInWords({ octets, messages }: { octets: number; messages: number }): string {
  return `${counted(messages, "mail")}, ${size(octets)}`;
}

function quotaInWords({ octets, messages, own }: QuotaReply): string {
  const bounds = [
    ...(messages === undefined ? [] : [counted(messages, "mail")]),
    ...(octets === undefined ? [] : [size(octets)]),
  ];
  return `${bounds.length === 0 ? "none" : bounds.join(", ")}${own ? "" : " (default)"}`;
}

interface QuotaOptions extends EntryOptions {
  readonly size?: string;
  readonly messages?: string;
}

/** `what`: "none", "default" or nothing. */
export async function setQuota(
  world: World,
  name: string,
  what: string | undefined,
  options: QuotaOptions,
): Promise<void> {
  const args = quotaArguments(what, options);
  const entry = await openEntry(world, options);
  const { mailbox, quota } = await entry.ask("userQuota", { name, ...args });
  world.output.line(`${mailbox} has the quota ${quotaInWords(quota)}`);
}

function quotaArguments(what: string | undefined, options: QuotaOptions) {
  const octets = quotaBound("--size", options.size);
  const messages = quotaBound("--messages", options.messages);
  const isBounded = octets !== undefined || messages !== undefined;
  if (what === undefined && isBounded) {
    return { ...(octets !== undefined && { octets }), ...(messages !== undefined && { messages }) };
  }
  if (what === "none" && !isBounded) return { octets: null, messages: null };
  if (what === "default" && !isBounded) return { standard: true };
  throw usageError("give --size SIZE, --messages N, or one of the words none and default");
}

export async function disableUser(
  world: World,
  name: string,
  disabled: boolean,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const { mailbox } = await entry.ask("userDisable", { name, disabled });
  world.output.line(`${mailbox} is ${disabled ? "disabled: no logins, no mail" : "active again"}`);
}
