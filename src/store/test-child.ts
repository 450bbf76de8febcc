/** A process for the tests that has to be killed: writes messages and prints what is acknowledged. */
import { argv, stdout } from "node:process";
import { openStore } from "./index.js";
import { add, alice, bodyOf, collectLog } from "./test-values.js";

const [, , directory = "", first = "1"] = argv;

async function main(): Promise<void> {
  const store = await openStore({
    directory,
    log: collectLog(),
    limits: {
      segmentOctets: 60_000,
      checkpointOctets: 20_000,
      flushAfterMs: 10,
      compactDeadShare: 0.2,
    },
  });
  stdout.write("open\n");
  let n = Number(first);
  const writer = async () => {
    for (;;) {
      const own = n++;
      const body = bodyOf(`body ${own} ${"x".repeat(own % 900)}`);
      await store.write([add(alice, own, body)], [body]);
      stdout.write(`${own}\n`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, writer));
}

main().catch((error: unknown) => {
  stdout.write(`failed ${error instanceof Error ? `${error.name} ${error.message}` : ""}\n`);
  process.exitCode = 1;
});
