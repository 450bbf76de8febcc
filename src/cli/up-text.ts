/** What `chord up` prints when the ring is ready: every command works as it is pasted. */
import type { MemberInfo } from "./parent-link.js";
import { formatTable } from "./table.js";
import type { TrialAccount } from "./up-accounts.js";

export interface ReadyRing {
  readonly domain: string;
  readonly dataDir: string;
  readonly members: readonly MemberInfo[];
  readonly accounts: readonly TrialAccount[];
}

export function readyText({ domain, dataDir, members, accounts }: ReadyRing): string[] {
  const size = members.length === 1 ? "one member" : `${members.length} members`;
  const titles = ["node", "ring", "SMTP", "submission", "POP3", "POP3S"];
  const endpoints = formatTable(
    titles.map((title) => ({ title })),
    members.map(({ addr, smtp, pop3, pop3s = "off", submission = "off" }, index) => [
      ...[String(index + 1), addr, smtp, submission, pop3, pop3s],
    ]),
  );
  const logins = accounts.map(({ name, password }) => `${name}@${domain}  password ${password}`);
  return [
    `The ring is ready: ${size}, data in ${dataDir}.`,
    "",
    ...indented(endpoints),
    "",
    ...indented(logins),
    "",
    ...commands({ domain, dataDir, members, accounts }),
    "",
    "chord status shows the ring. Ctrl-C stops it; the mail stays.",
  ];
}

/** Sent through the first member, fetched through the last: the ring is in between. */
function commands({ domain, members, accounts }: ReadyRing): string[] {
  const [from, to] = accounts;
  const smtp = members[0]?.smtp ?? "";
  const pop3 = members.at(-1)?.pop3 ?? "";
  const sender = `${from?.name ?? ""}@${domain}`;
  const receiver = `${to?.name ?? ""}@${domain}`;
  const mail = `From: ${sender}\\r\\nTo: ${receiver}\\r\\nSubject: Hello\\r\\n\\r\\nIt works.\\r\\n`;
  const [host = "", port = ""] = splitPort(smtp);
  return [
    `Send a mail to ${to?.name ?? ""} through one member and fetch it through another:`,
    "",
    `  printf '${mail}' | \\`,
    `    curl -sS smtp://${smtp} --mail-from ${sender} \\`,
    `    --mail-rcpt ${receiver} --upload-file -`,
    `  curl -sS pop3://${pop3}/1 --user ${to?.name ?? ""}:${to?.password ?? ""}`,
    "",
    "The same with swaks:",
    "",
    `  swaks --server ${host} --port ${port} --from ${sender} --to ${receiver}`,
  ];
}

function splitPort(endpoint: string): readonly string[] {
  const colon = endpoint.lastIndexOf(":");
  return [endpoint.slice(0, colon), endpoint.slice(colon + 1)];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}
