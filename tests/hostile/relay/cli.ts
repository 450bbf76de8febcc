/**
 * The hostile relay by hand: `npm run drill:relay -- --messages 10000 --largest 52428800 --seed 7`. Exits with
 * 1 when a message was lost, doubled, changed or out of order.
 */
import { writeSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { Ring } from "../../support/ring.js";
import { hostile } from "./chances.js";
import { type Report, run } from "./run.js";

interface CliOptions {
  readonly messages: number;
  readonly largest: number;
  readonly seed: number;
  readonly peers: number;
  readonly minutes: number;
  readonly killPeer: number;
  readonly killMember: number;
  readonly keep?: boolean;
}

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("not a number");
  return value;
};
const print = (text: string): void => void writeSync(1, `${text}\n`);

const program = new Command("drill:relay")
  .option("--messages <n>", "of all peers together", number, 500)
  .option("--largest <octets>", "of the largest message", number, 50 * 1024 * 1024)
  .option("--seed <n>", "chooses messages, faults and victims", number, 1)
  .option("--peers <n>", "processes that send and consume", number, 4)
  .option("--minutes <n>", "for all to be consumed", number, 60)
  .option("--kill-peer <s>", "seconds between kill -9 of a peer, on average; 0: never", number, 10)
  .option("--kill-member <s>", "the same for members of the ring", number, 45)
  .option("--keep", "keep journals and books");

async function main(): Promise<void> {
  const options = program.parse().opts<CliOptions>();
  const { seed, messages, largest, peers, minutes, keep = false } = options;
  print(`seed ${seed}: ${messages} messages of up to ${largest} octets between ${peers} peers`);
  const ring = new Ring({ members: 3, args: ["--registration", "open"] });
  let toldAtMs = 0;
  try {
    for (let n = 0; n < 3; n += 1) await ring.grow();
    const report = await run(ring, {
      ...{ seed, messages, largest, peers, keep, chances: hostile },
      killPeerEveryMs: options.killPeer * 1_000,
      killMemberEveryMs: options.killMember * 1_000,
      deadlineMs: minutes * 60_000,
      progress: ({ sent, effects, lost }, { mails, kills }) => {
        if (performance.now() - toldAtMs < 15_000) return;
        toldAtMs = performance.now();
        print(
          `${sent} sent, ${effects} consumed, ${lost.length} on their way, ${mails} mails, ` +
            `${kills.peers} peers and ${kills.members} members killed`,
        );
      },
    });
    print(textOf(report));
    process.exitCode = isSound(report) ? 0 : 1;
  } finally {
    await ring.stopAll();
    ring.remove("everything");
  }
}

const isSound = ({ lost, doubled, disordered, wrong, isComplete }: Report): boolean =>
  isComplete && [lost, doubled, disordered, wrong].every((list) => list.length === 0);

function textOf(report: Report): string {
  const { sent, octets, unsure, effects, handedAgain, faults, kills, mails, mailOctets } = report;
  const shown = (name: string, list: readonly string[]): string[] => [
    `${name}: ${list.length}`,
    ...list.slice(0, 20).map((line) => `  ${line}`),
  ];
  return [
    `${sent} messages of ${octets} octets, and ${unsure} whose sender was killed in send`,
    `${effects} consumed; ${handedAgain} handed out again after a kill, before their acknowledgement`,
    `${mails} mails of ${mailOctets} octets at the relay, ${report.seconds.toFixed(0)} s`,
    `killed: ${kills.peers} peers, ${kills.members} members`,
    ...[...faults].sort().map(([fault, count]) => `  ${fault}: ${count}`),
    ...shown("lost", report.lost),
    ...shown("doubled", report.doubled),
    ...shown("out of order", report.disordered),
    ...shown("wrong", report.wrong),
    ...(report.isComplete ? [] : ["not all were sent"]),
    `books: ${report.folder}`,
  ].join("\n");
}

await main();
process.exit();
