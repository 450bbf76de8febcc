import { setTimeout as sleep } from "node:timers/promises";

/**
 * Polls `condition` until it answers something other than false, undefined or null.
 * A condition that throws counts as not yet true; its error is shown if the deadline passes.
 * @throws Error naming `what` and the last answer or error.
 */
export async function waitUntil<T>(
  condition: () => T | Promise<T>,
  options: { readonly deadlineMs: number; readonly what: string; readonly everyMs?: number },
): Promise<NonNullable<T>> {
  const endMs = performance.now() + options.deadlineMs;
  let last: unknown = "never answered";
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== undefined && value !== null) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs) {
      throw new Error(`waited ${options.deadlineMs} ms for: ${options.what}`, { cause: last });
    }
    await sleep(options.everyMs ?? 50);
  }
}

/** Rejects when `promise` takes longer than `deadlineMs`. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  const cancel = new AbortController();
  const late = sleep(deadlineMs, undefined, { signal: cancel.signal }).then(() => {
    throw new Error(`${what}: nothing within ${deadlineMs} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel.abort();
    late.catch(() => undefined);
  }
}
