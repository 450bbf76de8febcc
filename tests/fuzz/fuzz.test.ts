import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fuzzers } from "./all.js";
import { campaign } from "./campaign.js";
import { encodeInput, readCorpus } from "./corpus.js";

describe.each(fuzzers)("$name", (fuzzer) => {
  beforeAll(async () => fuzzer.open?.());
  afterAll(async () => fuzzer.close?.());

  const corpus = readCorpus(fuzzer.name);
  if (corpus.length > 0) {
    test.each(corpus)("what failed once: $file", async ({ input }) => {
      await fuzzer.run(input);
    });
  }

  test(`${fuzzer.testRuns} inputs from seed 1`, async () => {
    const { failure, executions } = await campaign(fuzzer, { seed: 1, runsMax: fuzzer.testRuns });
    expect(failure && `${failure.error}\nseed ${failure.seed}: ${encodeInput(failure.input)}`).toBe(
      undefined,
    );
    expect(executions).toBe(fuzzer.testRuns);
  });
});
