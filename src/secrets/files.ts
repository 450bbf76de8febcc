/** Secrets as files: only their owner may read them, and a reader is never shown half of one. */
import {
  chmod,
  constants,
  type FileHandle,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname } from "node:path";

/** A secret that can't be used. `message` is one line that names the file and says what to do. */
export class SecretError extends Error {
  override readonly name = "SecretError";
}

/** No key, certificate or chain is as large. */
const octetsMax = 256 * 1024;

export interface ReadOptions {
  /**
   * The file may belong to root, with its group reading it, as keys of the whole machine often do.
   * Others may never read it.
   */
  readonly maybeOfRoot?: boolean;
}

/**
 * The text of a secret file; undefined when there is none. Whom it belongs to and who may read it
 * is asked of the open file, so that it can't be exchanged in between.
 * @throws SecretError
 */
export async function readSecret(
  path: string,
  options: ReadOptions = {},
): Promise<string | undefined> {
  let file: FileHandle;
  try {
    // Without waiting for the writer of a pipe that was put there.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code !== "EACCES" && code !== "EPERM") {
      throw new SecretError(`${path} can't be read (${code ?? String(error)})`);
    }
    throw new SecretError(`${path} may not be read by this user; run this as the user it is of`);
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new SecretError(`${path} is not a file`);
    refuseForeign(path, stats, options);
    if (stats.size > octetsMax) throw new SecretError(`${path} is too large to be a key`);
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/** The text of a file that anybody may read; undefined when there is none. @throws SecretError */
export async function readPublic(path: string): Promise<string | undefined> {
  try {
    const stats = await stat(path);
    if (!stats.isFile()) throw new SecretError(`${path} is not a file`);
    if (stats.size > octetsMax) throw new SecretError(`${path} is too large to be a certificate`);
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof SecretError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new SecretError(`${path} can't be read (${code ?? String(error)})`);
  }
}

interface Ownership {
  readonly uid: number;
  readonly mode: number;
}

/** @throws SecretError */
function refuseForeign(path: string, { uid, mode }: Ownership, { maybeOfRoot }: ReadOptions): void {
  const self = process.getuid?.();
  // Windows has other ways, and libuv makes these numbers up there.
  if (self === undefined) return;
  const isOfRoot = maybeOfRoot === true && uid === 0;
  if (uid !== self && !isOfRoot) {
    throw new SecretError(
      `${path} belongs to another user (uid ${uid}): run this as that user, ` +
        `or give the file to this one with chown ${self} ${path}`,
    );
  }
  const forbidden = isOfRoot ? 0o037 : 0o077;
  if ((mode & forbidden) === 0) return;
  const who = (mode & 0o007) === 0 ? "its group" : "others";
  const right = isOfRoot && self !== 0 ? "640" : "600";
  throw new SecretError(
    `${path} is open to ${who} (mode ${(mode & 0o777).toString(8)}): chmod ${right} ${path}`,
  );
}

/**
 * Writes a secret so that it is there as a whole or not at all, with mode 0600. Its folder is made,
 * with mode 0700.
 */
export async function writeSecret(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const draft = `${path}.draft`;
  await rm(draft, { force: true });
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  await syncFolder(folder);
}

/** So that the name outlives a power cut, too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
