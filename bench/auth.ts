/**
 * `npm run bench:auth`: how much an answer's time tells of who has an account. The real login of
 * one process (Argon2id, the counting of tries over a group of three in memory), wrong passwords of
 * users that are there, that are not, and that are disabled, in turn; then what logins cost.
 */
import { randomBytes } from "node:crypto";
import type { Account } from "../src/mailbox/account.js";
import type { ClientOrigin } from "../src/mailbox/authentication.js";
import { Logins } from "../src/mailbox/logins.js";
import { Passwords } from "../src/mailbox/passwords.js";
import { Tries } from "../src/mailbox/tries.js";
import { clock, random } from "../src/node/system.js";
import type { Groups } from "../src/replication/group.js";
import { TryTable } from "../src/replication/try-table.js";
import { Times } from "./client.js";
import { type Figure, table } from "./figures.js";

const rounds = 200;
const kinds = ["there", "not there", "disabled"] as const;
const from: ClientOrigin = { address: "127.0.0.1", protocol: "pop3" };
const silent = () => undefined;

const passwords = new Passwords(() => clock.monotonicMs());
const credentials = await passwords.credentials("the right one");
const account: Account = { ...credentials, createdAtMs: 0, version: "1" };
const tables = [0, 1, 2].map(() => new TryTable(clock));

const groups = {
  ask: async (_: string, method: string, request: Parameters<TryTable["note"]>[2] & Key) => {
    await new Promise((resolve) => setImmediate(resolve));
    const answers = new Map<number, unknown>();
    for (const [member, tries] of tables.entries()) {
      if (method === "releaseTry") tries.release(request.key, request.id);
      else answers.set(member, { tries: tries.note(request.key, request.id, request) });
    }
    return { quorum: true, answers };
  },
} as unknown as Groups;
interface Key {
  readonly key: string;
  readonly id: string;
}

const logins = new Logins({
  accounts: {
    read: (mailbox) => {
      if (mailbox.startsWith("there")) return Promise.resolve({ kind: "account", account });
      if (mailbox.startsWith("disabled")) {
        return Promise.resolve({ kind: "account", account: { ...account, disabled: true } });
      }
      return Promise.resolve({ kind: "unknown", former: false });
    },
  },
  passwords,
  // Without bounds: it is the work that is measured, not the delay that makes guessing slow.
  tries: new Tries({
    ...{ groups, random },
    limits: { perAccount: 1_000_000, perAddress: 1_000_000, windowMs: 300_000 },
  }),
  sessions: { verify: () => Promise.resolve({ kind: "denied" }) },
  keys: { current: () => Promise.resolve({ saltSecret: randomBytes(32), keys: [] }) },
  domain: "ring.test",
  clock,
  log: { debug: silent, info: silent, warn: silent, error: silent },
  stopping: new AbortController().signal,
});

async function timed(times: Times | undefined, name: string, password: string): Promise<void> {
  const beganMs = performance.now();
  await logins.password(name, password, from);
  times?.add(performance.now() - beganMs);
}

const times = new Map(kinds.map((kind) => [kind, new Times()]));
for (let round = -5; round < rounds; round += 1) {
  // In another order each round, so that nobody always comes after the same one.
  for (let n = 0; n < kinds.length; n += 1) {
    const kind = kinds[(n + round + kinds.length * 2) % kinds.length] ?? "there";
    const name = `${kind.replace(" ", "-")}-${round + 5}`;
    await timed(round < 0 ? undefined : times.get(kind), name, `wrong ${round}`);
  }
}
const remembered = new Times();
await timed(undefined, "there-0", "the right one");
for (let n = 0; n < 2_000; n += 1) await timed(remembered, "there-0", "the right one");

const median = (kind: (typeof kinds)[number]): number => times.get(kind)?.quantile(0.5) ?? 0;
const apart = Math.max(...kinds.map(median)) - Math.min(...kinds.map(median));
const figures: Figure[] = [
  ...kinds.map((kind) => ({
    name: `wrong password, user ${kind}: median`,
    value: median(kind),
    unit: "ms",
    note: `p99 ${times.get(kind)?.quantile(0.99)} ms, of ${rounds}`,
  })),
  {
    name: "between these medians",
    value: Number(apart.toFixed(2)),
    unit: "ms",
    goal: { kind: "atMost", value: 5 },
  },
  { name: "right password, remembered: median", value: remembered.quantile(0.5), unit: "ms" },
];
process.stdout.write(`${table(figures)}\n`);
if (apart > 5) process.exitCode = 1;
