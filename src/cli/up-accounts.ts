/** The two accounts of a trial ring, with passwords that a restart shows again. */
import { randomInt } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AdminError } from "../shared/admin.js";
import type { Entry } from "./entry.js";
import { CliError } from "./errors.js";

export interface TrialAccount {
  readonly name: string;
  readonly password: string;
}

const names = ["alice", "bob"] as const;
const fileName = "accounts.json";
/** Without what is easily misread (0 o, 1 l i) or special to a shell; 5 bits a character. */
const alphabet = "abcdefghjkmnpqrstuvwxyz23456789";
const retryMs = 500;

/** Reads the accounts kept in `dataDir`, or makes passwords and keeps them. @throws CliError */
export async function trialAccounts(dataDir: string): Promise<readonly TrialAccount[]> {
  const path = join(dataDir, fileName);
  const kept = await readKept(path);
  if (kept !== undefined) return kept;
  const made = names.map((name) => ({ name, password: newPassword() }));
  const draft = await open(`${path}.new`, "w", 0o600);
  try {
    await draft.writeFile(`${JSON.stringify(made, undefined, 2)}\n`);
    await draft.sync();
  } finally {
    await draft.close();
  }
  await rename(`${path}.new`, path);
  return made;
}

async function readKept(path: string): Promise<readonly TrialAccount[] | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new CliError(`${path} can't be read; make it readable or delete it`);
  }
  const kept = parseAccounts(text);
  if (kept !== undefined) return kept;
  throw new CliError(`${path} is damaged; delete it, and the accounts get new passwords`);
}

function parseAccounts(text: string): readonly TrialAccount[] | undefined {
  try {
    const value = JSON.parse(text) as readonly Partial<TrialAccount>[];
    const accounts = value.flatMap(({ name, password }) =>
      typeof name === "string" && typeof password === "string" ? [{ name, password }] : [],
    );
    return accounts.length === names.length && accounts.length === value.length
      ? accounts
      : undefined;
  } catch {
    return undefined;
  }
}

function newPassword(): string {
  const group = () =>
    Array.from({ length: 4 }, () => alphabet.charAt(randomInt(alphabet.length))).join("");
  return [group(), group(), group(), group()].join("-");
}

interface Patience {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/**
 * Makes the ring have the accounts. `fresh`: the passwords were made just now, so an account that
 * exists has another one. @throws AdminError when the ring does not agree within `deadlineMs`
 */
export async function ensureAccounts(
  entry: Entry,
  accounts: readonly TrialAccount[],
  patience: Patience,
): Promise<void> {
  for (const account of accounts) await untilAgreed(() => ensureAccount(entry, account), patience);
}

/** RFC 5321 §4.5.1: somebody gets the mail for postmaster; `name`, if nobody does yet. */
export async function ensurePostmaster(
  entry: Entry,
  name: string,
  patience: Patience,
): Promise<void> {
  await untilAgreed(async () => {
    const { domains } = await entry.ask("domainList", {});
    const { aliases } = await entry.ask("aliasList", {});
    if (aliases.some(({ alias }) => alias === `postmaster@${domains[0] ?? ""}`)) return;
    try {
      await entry.ask("aliasAdd", { alias: "postmaster", targets: [name] });
    } catch (error) {
      // An account of that name will do.
      if (!(error instanceof AdminError && error.code === "exists")) throw error;
    }
  }, patience);
}

async function untilAgreed(
  run: () => Promise<void>,
  { deadlineMs, signal }: Patience,
): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += retryMs) {
    try {
      await run();
      return;
    } catch (error) {
      const isEarly = error instanceof AdminError && error.code === "unavailable";
      if (!isEarly || waitedMs >= deadlineMs) throw error;
      await sleep(retryMs, undefined, { signal });
    }
  }
}

async function ensureAccount(entry: Entry, { name, password }: TrialAccount): Promise<void> {
  try {
    await entry.ask("userAdd", { name, password });
  } catch (error) {
    if (!(error instanceof AdminError && error.code === "exists")) throw error;
    // The user may have deleted the file with the passwords: the file is what we print.
    await entry.ask("userPasswd", { name, password });
  }
}
