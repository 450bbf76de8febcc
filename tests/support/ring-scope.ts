import { afterAll, afterEach, beforeAll } from "vitest";
import { Ring, type RingOptions } from "./ring.js";

/** Starts rings that end with the test (or with the file), printing their logs when one failed. */
export interface RingScope {
  /** `ring`: one that was made of these options already. */
  start(options: RingOptions, ring?: Ring): Promise<Ring>;
}

/** Call at the top of a test file: one ring for all its tests, there when the first one begins. */
export function ringOfFile(options: RingOptions): Ring {
  const ring = new Ring(options);
  const scope = ringScope("file");
  beforeAll(() => scope.start(options, ring));
  return ring;
}

/**
 * Call at the top of a test file. `life: "file"` keeps the rings for all tests of the file.
 * KEEP_DATA=1 leaves the data directories of failed tests behind.
 */
export function ringScope(life: "test" | "file" = "test"): RingScope {
  let rings: Ring[] = [];
  let failed = false;
  const end = async (): Promise<void> => {
    for (const ring of rings) {
      await ring.stopAll();
      if (!failed) ring.remove("everything");
      else if (process.env["KEEP_DATA"] === undefined) ring.remove("data");
    }
    rings = [];
    failed = false;
  };
  afterEach(async (context) => {
    if (context.task.result?.state === "fail") {
      failed = true;
      for (const ring of rings) ring.printLogs();
    }
    if (life === "test") await end();
  });
  afterAll(end);
  return {
    async start(options, ring = new Ring(options)) {
      rings.push(ring);
      const ids = typeof options.members === "number" ? [] : options.members;
      const count = typeof options.members === "number" ? options.members : ids.length;
      for (let index = 0; index < count; index += 1) {
        const id = ids[index];
        await ring.grow(id === undefined ? {} : { id });
      }
      return ring;
    },
  };
}
