import type { Copying, MemberStatus, StatusReply } from "../shared/admin.js";
import { percent, remaining } from "./amounts.js";
import { type EntryOptions, openEntry } from "./entry.js";
import type { Output, Style } from "./output.js";
import { drawRing } from "./ring-picture.js";
import { formatTable, shortId } from "./table.js";
import type { World } from "./world.js";

export async function status(
  world: World,
  options: EntryOptions & { readonly json?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const reply = await entry.ask("status", {});
  if (options.json === true) world.output.line(JSON.stringify(reply));
  else for (const line of describe(reply, world.output)) world.output.line(line);
}

const stateStyles: Readonly<Record<MemberStatus["state"], Style>> = {
  active: "green",
  joining: "cyan",
  leaving: "yellow",
  unreachable: "red",
};

/** The ring for people. Fits a terminal of 80 columns, and of 24 rows up to 6 members. */
function describe(reply: StatusReply, output: Output): string[] {
  const { ring, rosterEpoch, notices } = reply;
  const members = inRingOrder(reply.members);
  const count = members.length === 1 ? "1 member" : `${members.length} members`;
  const copies = ring.replicas + 1;
  const head =
    `${ring.domain}: ${count}, ${copies === 1 ? "1 copy" : `${copies} copies`} of everything, ` +
    `2^${ring.bits} ids, roster epoch ${rosterEpoch}`;
  return [
    output.style("bold", head),
    ...picture(members, ring.bits, output),
    ...table(members, ring.bits, output),
    ...copiesInWords(reply, output),
    ...verdict(notices, output),
  ];
}

function inRingOrder(members: readonly MemberStatus[]): MemberStatus[] {
  const order = (a: MemberStatus, b: MemberStatus) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1);
  return [...members].sort(order);
}

function picture(members: readonly MemberStatus[], bits: number, output: Output): string[] {
  if (!output.isTerminal) return [];
  const points = members.map(({ id, state }) => ({ id, alive: state !== "unreachable" }));
  return drawRing(points, bits) ?? [];
}

function table(members: readonly MemberStatus[], bits: number, output: Output): string[] {
  const [head = "", ...lines] = formatTable(
    [
      { title: "id" },
      { title: "address" },
      { title: "state" },
      { title: "next" },
      { title: "owns", align: "right" },
      { title: "copies", align: "right" },
      { title: "mails", align: "right" },
    ],
    members.map((member) => row(member, bits)),
  );
  return [
    output.style("dim", head),
    ...lines.map((line, at) => {
      const state = members[at]?.state ?? "active";
      return line.replace(` ${state}`, ` ${output.style(stateStyles[state], state)}`);
    }),
  ];
}

function row(member: MemberStatus, bits: number): string[] {
  const { id, addr, state, successors } = member;
  if (state === "unreachable") return [shortId(id, bits), addr, state, "", "?", "?", "?"];
  const [next] = successors;
  return [
    shortId(id, bits),
    addr,
    state,
    next === undefined ? "" : shortId(next, bits),
    String(member.keysOwned),
    String(member.keysCopied),
    String(member.messages),
  ];
}

/** `copies 3/3 for 100 % of keys`, or what is lacking and how long it takes. */
function copiesInWords({ copies, members }: StatusReply, output: Output): string[] {
  const { wanted, keys, byCopies, withoutQuorum, complete } = copies;
  const lines: string[] = [];
  if (keys === 0)
    return complete ? [] : [output.style("yellow", "! no member tells of its copies")];
  const levels = [...byCopies.entries()]
    .filter(([count, some]) => some > 0 && count < wanted)
    .map(([count, some], index) => {
      const label = index === 0 ? "copies " : "";
      return `${label}${count}/${wanted} for ${percent(some, keys)} of keys`;
    });
  if (levels.length === 0) lines.push(`copies ${wanted}/${wanted} for 100 % of keys`);
  else {
    const left = remaining(sumOf(members.flatMap(({ copying }) => copying ?? [])));
    lines.push([...levels, ...(left === undefined ? [] : [left])].join(", "));
  }
  if (withoutQuorum > 0) {
    lines.push(`! ${percent(withoutQuorum, keys)} of keys can't be used: too few members answer`);
  }
  if (!complete) lines.push("! not all members told of their copies");
  const style = levels.length === 0 && lines.length === 1 ? "green" : "yellow";
  return lines.map((line) => output.style(style, line));
}

function sumOf(all: readonly Copying[]): Copying {
  const sum = { mailboxes: 0, mailboxesTotal: 0, messages: 0, messagesTotal: 0 };
  const total = { ...sum, octets: 0, octetsTotal: 0, seconds: 0 };
  for (const one of all) {
    total.mailboxes += one.mailboxes;
    total.mailboxesTotal += one.mailboxesTotal;
    total.messages += one.messages;
    total.messagesTotal += one.messagesTotal;
    total.octets += one.octets;
    total.octetsTotal += one.octetsTotal;
    total.seconds = Math.max(total.seconds, one.seconds);
  }
  return total;
}

function verdict(notices: readonly string[], output: Output): string[] {
  if (notices.length === 0) return [output.style("green", "All members answer.")];
  return notices.map((notice) => output.style("yellow", `! ${notice}`));
}
