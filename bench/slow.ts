/**
 * npm run bench:slow [-- --connections 1000] [-- --seconds 30]
 *
 * Slow connections at one member of three, an octet a second each: some never end a command, some
 * never end a mail, some never end a login. Meanwhile honest clients send and fetch, at that member
 * and at the others. Needs a build, and Linux: the slow ones come from many addresses of 127/8, as
 * the limit for one address would stop them.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Member } from "../tests/support/member.js";
import { Ring } from "../tests/support/ring.js";
import { hostPort } from "../tests/support/wire.js";
import { Times } from "./client.js";
import { type Figure, table } from "./figures.js";
import { login, send } from "./probes.js";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "1000" },
    seconds: { type: "string", default: "30" },
  },
});
const wanted = Number(values.connections);
const measureMs = Number(values.seconds) * 1_000;
const goalP99Ms = 500;
const goalRssMb = 512;
const figures: Figure[] = [];

type Kind = "command" | "data" | "login";

/** One client that says an octet a second and never comes to an end. */
class SlowClient {
  #socket: Socket | undefined;
  closed = 0;

  constructor(
    private readonly member: Member,
    private readonly kind: Kind,
    private readonly localAddress: string,
  ) {
    this.open();
  }

  open(): void {
    const at = hostPort(this.kind === "login" ? this.member.pop3 : this.member.smtp);
    const socket = connect({ ...at, localAddress: this.localAddress });
    this.#socket = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.closed += 1;
      if (this.#socket === socket) this.#socket = undefined;
    });
    socket.once("data", () => {
      if (this.kind !== "data") return;
      const envelope = "MAIL FROM:<slow@else.test>\r\nRCPT TO:<slow@ring.test>\r\n";
      socket.write(`EHLO slow.test\r\n${envelope}DATA\r\n`);
    });
    socket.resume();
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === "open";
  }

  say(): void {
    if (this.#socket === undefined) this.open();
    else if (this.#socket.bytesRead > 0 && this.#socket.writable) this.#socket.write("x");
  }

  end(): void {
    this.#socket?.destroy();
  }
}

const rssMb = (member: Member): number => {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${member.pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1_024;
};

/** Two senders and a reader at each of the members, one thing after the other. */
async function honest(members: readonly Member[], label: string, ms: number): Promise<void> {
  const times = { send: new Times(), fetch: new Times() };
  const endMs = performance.now() + ms;
  let failures = 0;
  const loop = async (once: () => Promise<number>, into: Times): Promise<void> => {
    while (performance.now() < endMs) {
      try {
        into.add(await once());
      } catch {
        failures += 1;
      }
    }
  };
  await Promise.all(
    members.flatMap((member, at) => [
      loop(() => send(member.smtp, `box-${at}`), times.send),
      loop(() => send(member.smtp, `box-${at}`), times.send),
      loop(() => login(member.pop3, `reader-${label.length}-${at}`), times.fetch),
    ]),
  );
  const put = (what: string, of: Times) => {
    const note = `p50 ${of.quantile(0.5)}${failures > 0 ? `, ${failures} FAILED` : ""}`;
    const goal = { kind: "atMost", value: goalP99Ms } as const;
    figures.push({
      name: `${what} ${label}, p99`,
      value: of.quantile(0.99),
      unit: "ms",
      goal,
      note,
    });
  };
  put("connection to 250,", times.send);
  put("connection to STAT,", times.fetch);
}

const ring = new Ring({ members: 3, replicas: 2 });
try {
  for (let n = 0; n < 3; n += 1) await ring.grow();
  const members = ring.members;
  const labels = ["alone", "beside the slow, same member", "beside the slow, other members"];
  const readers = labels.flatMap((label) => members.map((_, at) => `reader-${label.length}-${at}`));
  await ring.addUsers(["slow", ...members.map((_, at) => `box-${at}`), ...new Set(readers)]);
  const [attacked, ...others] = [ring.member(0), ring.member(1), ring.member(2)];
  await honest(members, labels[0] ?? "", measureMs / 3);
  const before = rssMb(attacked);

  const kinds: readonly Kind[] = ["command", "data", "login"];
  const slow: SlowClient[] = [];
  for (let n = 0; n < wanted; n += 1) {
    const address = `127.0.${1 + Math.floor(n / 200)}.${1 + (n % 200)}`;
    slow.push(new SlowClient(attacked, kinds[n % kinds.length] ?? "command", address));
    if (n % 50 === 49) await sleep(50);
  }
  const talk = setInterval(() => {
    for (const client of slow) client.say();
  }, 1_000);
  await sleep(3_000);
  const open = slow.filter((client) => client.isOpen).length;
  await Promise.all([
    honest([attacked], labels[1] ?? "", measureMs),
    honest(others, labels[2] ?? "", measureMs),
  ]);
  const after = rssMb(attacked);
  clearInterval(talk);
  figures.push(
    { name: "slow connections open when the measurement began", value: open, unit: "" },
    {
      name: "… and at its end (the server ends logins after a minute; they come again)",
      value: slow.filter((client) => client.isOpen).length,
      unit: "",
    },
    {
      ...{ name: "memory of the member with the slow ones", value: Math.round(after), unit: "MB" },
      goal: { kind: "atMost", value: goalRssMb },
      note: `${Math.round(before)} MB before`,
    },
  );
  for (const client of slow) client.end();
} finally {
  await ring.stopAll();
  ring.remove("everything");
}
console.log(table(figures));
