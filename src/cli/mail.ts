/** `chord mail list` and `chord mail read N`: a mailbox for people, by POP3. */
import type { Pop3Client } from "../client/pop3-client.js";
import { createMailViewer, type MailViewer } from "../mail-view/viewer.js";
import type { MailView } from "../mail-view/view.js";
import { counted } from "./amounts.js";
import { CliError, usageError } from "./errors.js";
import { mailLines } from "./mail-text.js";
import { type MailboxOptions, withMailbox } from "./mailbox-session.js";
import { formatTable } from "./table.js";
import { visibleLine, wrapped } from "./visible.js";
import type { World } from "./world.js";

const columns = 80;
/** Of one mail, and of one header in a list. */
const readMs = 10_000;
const listMs = 2_000;
/** A list of more is cut off at the front: the newest are at the end. */
const listedMax = 200;

export async function listMail(
  world: World,
  options: MailboxOptions,
  viewer: MailViewer = createMailViewer(),
): Promise<void> {
  const { output } = world;
  try {
    await withMailbox(world, options, async (client) => {
      const all = await client.list();
      const shown = all.slice(-listedMax);
      if (all.length === 0) return output.line("No mail.");
      const rows: string[][] = [];
      for (const [number, octets] of shown) {
        const header = await client.multiline(`TOP ${number} 0`);
        const view = await viewer.view(header, { deadlineMs: listMs });
        rows.push([String(number), ...summary(view), String(octets)]);
      }
      const right = "right" as const;
      const titles = [
        { title: "no", align: right },
        ...[{ title: "date" }, { title: "from" }, { title: "subject" }],
        { title: "octets", align: right },
      ];
      for (const line of formatTable(titles, rows)) output.line(line);
      if (shown.length < all.length) {
        output.line(`(${counted(all.length - shown.length, "older mail")} not shown)`);
      }
    });
  } finally {
    await viewer.close();
  }
}

function summary(view: MailView): [date: string, from: string, subject: string] {
  if (view.kind === "unparsable") return ["", "", "(header can't be parsed)"];
  const { date, from, subject } = view;
  const day = date === undefined ? "" : date.toISOString().slice(0, 16).replace("T", " ");
  return [day, shortened(from, 20), shortened(subject, 26)];
}

function shortened(text: string, charsMax: number): string {
  const chars = [...visibleLine(text)];
  return chars.length > charsMax ? `${chars.slice(0, charsMax - 1).join("")}…` : chars.join("");
}

export async function readMail(
  world: World,
  number: string,
  options: MailboxOptions,
  viewer: MailViewer = createMailViewer(),
): Promise<void> {
  if (!/^[1-9]\d{0,8}$/.test(number)) throw usageError(`${number}: a mail's number is 1 or more`);
  try {
    const mail = await withMailbox(world, options, (client) => fetched(client, Number(number)));
    const view = await viewer.view(mail, { deadlineMs: readMs });
    // Octets that nobody could parse are shown as they came, in lines as long as they are.
    const lines = mailLines(mail, view);
    const shown = view.kind === "parsed" ? lines.flatMap((line) => wrapped(line, columns)) : lines;
    for (const line of shown) world.output.line(line);
  } finally {
    await viewer.close();
  }
}

async function fetched(client: Pop3Client, number: number): Promise<Buffer> {
  const { messages } = await client.stat();
  if (number > messages) {
    throw new CliError(`there is no mail ${number}: the mailbox has ${counted(messages, "mail")}`);
  }
  return client.retr(number);
}
