import { setImmediate } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { closedError, within } from "./waiting.js";

test.each(["was closed before", "is closed meanwhile"])(
  "what fails later ends no process when the client %s",
  async (when) => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    try {
      const closing = new AbortController();
      const close = (): void => closing.abort(closedError());
      if (when === "was closed before") close();
      let fail: (error: Error) => void = () => undefined;
      const failing = new Promise<never>((_, reject) => (fail = reject));
      const waiting = within(failing, { what: "an answer", signal: closing.signal });
      close();
      await expect(waiting).rejects.toMatchObject({ code: "closed" });
      fail(new Error("too late to matter"));
      // Node tells of it before the next turn.
      await setImmediate();
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off("unhandledRejection", unhandled);
    }
  },
);

test("what is there in time is the answer; what is not is a timeout", async () => {
  expect(await within(Promise.resolve(7), { ms: 60_000, what: "seven" })).toBe(7);
  const never = new Promise<never>(() => undefined);
  const timeout = { code: "timeout", retryable: true };
  await expect(within(never, { ms: 1, what: "nothing" })).rejects.toMatchObject(timeout);
});
