/** What a proven sender may ask of the control address, besides what the broker does. */
import type { OperationName, ResolvedRecord } from "../../ebm/index.js";
import type { Accounts } from "../../mailbox/accounts.js";
import type { Quotas } from "../../mailbox/quotas.js";
import { parseLogin } from "../../mime/address.js";
import type { BrokerOperation, OperationOutcome, ProvenSender } from "../ports.js";
import type { PacketHeader, Ask } from "../../ebm/index.js";
import type { Directory, DirectoryEntry } from "./directory.js";
import type { Contacts, ReadMarks } from "./lists.js";
import { refuse, undecided } from "./refusal.js";
import type { SignUp, SignUpOptions } from "./sign-up.js";

type OwnOperation = Exclude<OperationName, BrokerOperation | "register" | "login">;

type Handlers = {
  readonly [N in OwnOperation]: (
    ask: Ask<N>,
    sender: ProvenSender,
    header: PacketHeader,
  ) => Promise<OperationOutcome<N>>;
};

interface OperationsOptions {
  readonly signUp: SignUp;
  readonly directory: Directory;
  readonly contacts: Contacts;
  readonly readMarks: ReadMarks;
  readonly accounts: Pick<Accounts, "read">;
  readonly quotas: Pick<Quotas, "quotaOf" | "usageOf">;
  readonly servers: SignUpOptions["servers"];
  /** The ring's first domain. */
  readonly domain: string;
}

export function createOperations(options: OperationsOptions): Handlers {
  const { signUp, directory, contacts, readMarks, servers, domain } = options;
  return {
    refresh: (_, __, { token }) => signUp.refresh(token ?? ""),
    logout: (_, { user, device }) => signUp.logout(user, device),
    announce: (ask, _, header) => signUp.announce(ask, { header }),
    async resolve({ user }) {
      const mailbox = parseLogin(user, domain);
      const found = mailbox ? await directory.recall(mailbox) : undefined;
      if (found?.kind === "undecided") return undecided();
      if (found?.kind === "entry") return { ok: true, answer: resolved(found.entry) };
      return refuse("unknown", "no such user has ever logged in here");
    },
    servers: async () => ({ ok: true, answer: { servers: await servers() } }),
    async listContacts(_, { user }) {
      const read = await contacts.read(user);
      return read.ok ? { ok: true, answer: { contacts: read.list } } : read;
    },
    addContact: async (contact, { user }) => empty(await contacts.add(user, contact)),
    removeContact: async (ask, { user }) => empty(await contacts.remove(user, ask.user)),
    markRead: async ({ ids }, { user }) => empty(await readMarks.add(user, ids)),
    async listRead(_, { user }) {
      const read = await readMarks.read(user);
      return read.ok ? { ok: true, answer: { ids: read.list } } : read;
    },
    quota: (_, { user }) => quotaOf(options, user),
  };
}

function resolved({ record, devices }: DirectoryEntry): ResolvedRecord {
  const believed = new Set(devices.map(({ device }) => device));
  const named = record.devices.map(({ device }) => device);
  const loggedOut = named.filter((device) => !believed.has(device));
  return loggedOut.length === 0 ? record : { ...record, loggedOut };
}

function empty<R extends { readonly ok: boolean }>(done: R) {
  return done.ok ? ({ ok: true, answer: {} } as const) : (done as Exclude<R, { ok: true }>);
}

async function quotaOf(
  { accounts, quotas }: OperationsOptions,
  user: ProvenSender["user"],
): Promise<OperationOutcome<"quota">> {
  const [account, used] = await Promise.all([accounts.read(user), quotas.usageOf(user)]);
  if (account.kind !== "account" || !used) return undecided();
  const { octets: octetsMax, messages: messagesMax } = quotas.quotaOf(account.account.quota);
  return {
    ok: true,
    answer: {
      ...used,
      ...(octetsMax !== undefined && { octetsMax }),
      ...(messagesMax !== undefined && { messagesMax }),
    },
  };
}
