/** `chord session …`: tokens that stand for a login at every node. */
import type { SessionReply } from "../shared/admin.js";
import { type EntryOptions, openEntry } from "./entry.js";
import { CliError } from "./errors.js";
import { firstLine, type PasswordOptions, readPassword } from "./password.js";
import type { World } from "./world.js";

const tokenOctetsMax = 4_096;

export async function createSession(
  world: World,
  name: string,
  options: EntryOptions & PasswordOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const password = await readPassword(world, options);
  print(world, await entry.ask("sessionCreate", { name, password }));
}

export async function refreshSession(world: World, options: EntryOptions): Promise<void> {
  const entry = await openEntry(world, options);
  const token = (await firstLine(world.stdin, tokenOctetsMax)).trim();
  if (token === "") throw new CliError("there is no token on stdin");
  print(world, await entry.ask("sessionRefresh", { token }));
}

export async function revokeSessions(
  world: World,
  name: string,
  options: EntryOptions,
): Promise<void> {
  const entry = await openEntry(world, options);
  const { mailbox } = await entry.ask("sessionRevoke", { name });
  world.output.line(`all tokens of ${mailbox} are void`);
}

export async function rotateKey(
  world: World,
  { dropOld = false, ...options }: EntryOptions & { readonly dropOld?: boolean },
): Promise<void> {
  const entry = await openEntry(world, options);
  const { kid } = await entry.ask("sessionRotateKey", { dropOld });
  const rest = dropOld ? "all earlier tokens are void" : "earlier tokens are good until they end";
  world.output.line(`tokens are signed with the new key ${kid}; ${rest}`);
}

/** The token alone goes to stdout, for scripts. */
function print({ output }: World, { mailbox, token, expiresAtMs }: SessionReply): void {
  output.line(token);
  output.note(`${mailbox}, until ${new Date(expiresAtMs).toISOString()}`);
}
