import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Cluster tests start several processes each; more than two at once starve each other on a
    // small machine and turn generous deadlines into flaky ones.
    maxWorkers: 2,
  },
});
