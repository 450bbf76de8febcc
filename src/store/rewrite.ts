import type { Log } from "../shared/log.js";
import { type DiskFile, isFull, writeFully } from "../shared/disk.js";

const pieceOctets = 4 * 1024 * 1024;

/**
 * Writes again what a killed process left, so that the next fsync is about it. After an fsync that
 * failed, Linux takes its pages for written: they can be read, but a later fsync passes them over.
 * Nothing is at risk meanwhile, since the same octets go to the same places.
 */
export async function rewrite(
  file: DiskFile,
  { from, to, log }: { readonly from: number; readonly to: number; readonly log: Log },
): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(pieceOctets, to - from));
  try {
    for (let at = from; at < to; ) {
      const got = file.readSync(buffer.subarray(0, to - at), at);
      if (got === 0) throw new Error(`the newest segment ends ${to - at} octets too early`);
      await writeFully(file, [buffer.subarray(0, got)], at);
      at += got;
    }
  } catch (error) {
    // Where files are never written in place, a full disk refuses it. Reading must go on.
    if (!isFull(error)) throw error;
    log.warn({ err: error }, "no space to write the journal's end again: it is fsynced as it is");
  }
}
