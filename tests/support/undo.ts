import { onTestFinished } from "vitest";

const pending = new Set<() => void>();

process.once("exit", () => {
  for (const undo of [...pending].reverse()) undo();
});

/**
 * Runs `undo` when the running test has finished, after its hooks: by then the rings of a
 * `ringScope("test")` are down. For what outlives a process: mounts, network namespaces. Also runs
 * when this process ends before.
 */
export function undoAfterTest(undo: () => void): void {
  pending.add(undo);
  onTestFinished(() => {
    pending.delete(undo);
    undo();
  });
}

/** What vitest hands to a test; skips with a note. */
export interface Skippable {
  skip(note?: string): void;
}
