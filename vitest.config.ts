import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    setupFiles: ["tests/support/every-file.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A second, which it is otherwise, is short on a machine that does other things as well.
    expect: { poll: { timeout: 60_000 } },
    // Cluster tests start several processes each; more than two at once starve each other on a
    // small machine and turn generous deadlines into flaky ones.
    maxWorkers: 2,
  },
});
