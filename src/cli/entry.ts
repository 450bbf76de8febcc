/** Which member a command asks, and what it says when nobody answers. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatEndpoint, parseEndpoint } from "../config/index.js";
import {
  type AdminCaller,
  AdminError,
  type AdminMethod,
  type AdminMethods,
} from "../shared/admin.js";
import { usageError } from "./errors.js";
import type { World } from "./world.js";

export interface EntryOptions {
  readonly entry?: string;
  readonly credentials?: string;
}

const lastResort = "127.0.0.1:5000";
export const upDataDefault = "data/up";
/** In the data directory of a running `chord up`: its members. */
export const upNoteName = "up.json";

export interface UpNote {
  readonly pid: number;
  readonly members: readonly string[];
}

/** A member to ask, and how. */
export interface Entry {
  readonly addr: string;
  ask<M extends AdminMethod>(
    method: M,
    args: AdminMethods[M]["args"],
  ): Promise<AdminMethods[M]["reply"]>;
  /** The same questions to another member. */
  at(addr: string): Entry;
}

/** @throws CliError for an entry that is no address */
export async function openEntry(world: World, options: EntryOptions): Promise<Entry> {
  const addr = await chooseEntry(world, options);
  const credentials = options.credentials ?? (world.env["RINGPOST_CREDENTIALS"] || undefined);
  return entryAt(await world.caller({ credentials }), addr);
}

function entryAt(caller: AdminCaller, addr: string): Entry {
  return {
    addr,
    ask: async (method, args) => {
      try {
        return await caller(addr, method, args);
      } catch (error) {
        throw withAdvice(error, addr);
      }
    },
    at: (other) => entryAt(caller, other),
  };
}

/** The member that a command asks when nobody says which. @throws CliError */
export async function chooseEntry({ env, cwd }: World, { entry }: EntryOptions): Promise<string> {
  if (entry !== undefined) return checked("--entry", entry);
  const fromEnv = env["RINGPOST_ENTRY"];
  if (fromEnv !== undefined && fromEnv !== "") return checked("RINGPOST_ENTRY", fromEnv);
  const note = await readUpNote(join(cwd, upDataDefault));
  return note?.members[0] ?? lastResort;
}

function checked(origin: string, text: string): string {
  const parsed = parseEndpoint(text, { portMin: 1 });
  if (parsed.ok) return formatEndpoint(parsed.value);
  throw usageError(`${origin} ${text}: must ${parsed.why}`);
}

/** The members of the `chord up` that runs on this data; undefined when none does. */
async function readUpNote(dataDir: string): Promise<UpNote | undefined> {
  try {
    const note = JSON.parse(await readFile(join(dataDir, upNoteName), "utf8")) as UpNote;
    process.kill(note.pid, 0);
    return note;
  } catch {
    return undefined;
  }
}

/** True when it was the asked member itself that gave no answer, not the ring behind it. */
export function isUnanswered(error: unknown, addr: string): error is AdminError {
  const isUnavailable = error instanceof AdminError && error.code === "unavailable";
  // The ring's own "unavailable" speaks of majorities; only the caller's names the address.
  return isUnavailable && error.message.includes(addr);
}

function withAdvice(error: unknown, addr: string): unknown {
  if (!isUnanswered(error, addr)) return error;
  const advice = "start a ring with: chord up, or name a running member with --entry host:port";
  return new AdminError("unavailable", `${shortened(error.message)}; ${advice}`);
}

/** Without what gRPC says about itself around the system's reason. */
function shortened(message: string): string {
  return message
    .replace(/No connection established\. Last error: (Error: )?/, "")
    .replace(/[\s.]*Resolution note:\s*$/, "")
    .replace(/connect ECONNREFUSED \S+?\.?$/, "nothing listens there");
}
