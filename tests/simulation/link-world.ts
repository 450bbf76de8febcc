/** A history: a few peers, a hostile mail system, crashes; then all faults stop and all must arrive. */
import { generateKeyPairSync } from "node:crypto";
import { seeded } from "../../src/store/simulated-disk.js";
import { Book } from "./link-book.js";
import { SimulatedTime } from "./link-clock.js";
import { Peer, type PeerContext } from "./link-peer.js";
import { noFaults, type PostFaults, PostOffice } from "./link-post.js";

export interface HistoryOptions {
  readonly seed: number;
  readonly messages?: number;
  readonly peers?: number;
  readonly crashes?: number;
  /** Share of the crashes in which the store is lost. */
  readonly wipe?: number;
  readonly fsyncMaxMs?: number;
  readonly faults?: Partial<PostFaults>;
  /** How long it may take until all is settled. */
  readonly healMs?: number;
  /** Share of the messages whose time is over before the faults are. */
  readonly mortal?: number;
  /** Every so-manieth message is given back whenever it is handed out. */
  readonly poisonEach?: number;
  /** Nobody consumes for the first part. */
  readonly lazy?: boolean;
}

export interface History {
  readonly violations: readonly string[];
  readonly messages: number;
  readonly consumed: number;
  readonly dead: number;
  readonly mails: number;
  readonly octets: number;
  readonly simulatedMs: number;
}

const busyMs = 10 * 60_000;
/** Timers double up to six hours, and a peer that is back is asked again only then. */
const healedMs = 3 * 86_400_000;

/** Keys are costly, and not what is simulated. */
const keyPool: string[] = [];
function keyFrom(random: () => number): string {
  while (keyPool.length < 64) {
    const { privateKey } = generateKeyPairSync("ed25519");
    keyPool.push(privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"));
  }
  return keyPool[Math.floor(random() * keyPool.length)] ?? "";
}

export async function history(options: HistoryOptions): Promise<History> {
  const random = seeded(options.seed);
  const pick = <T>(...choices: readonly T[]): T =>
    choices[Math.floor(random() * choices.length)] as T;
  const time = new SimulatedTime({ lookMs: pick(0, 0.3, 0.7), earlyMs: pick(0, 0.9) });
  const startMs = time.nowMs();
  const book = new Book();
  const faults: PostFaults = {
    drop: pick(0, 0.1, 0.3),
    double: pick(0, 0.1, 0.3),
    delayMaxMs: pick(1_000, 60_000, 400_000),
    rewrite: pick(0, 0.5),
    later: pick(0, 0.1, 0.3),
    noReply: pick(0, 0.1, 0.3),
    bounce: pick(0, 0.05),
    kill: pick(0, 0, 0, 0.03),
    sizeMax: pick(Infinity, 9_000, 30_000),
    sizeBounce: pick(true, false),
    ...options.faults,
  };
  const post = new PostOffice(time, random, faults);
  let isHealed = false;
  const context: PeerContext = {
    ...{ time, random, post, book, keys: new Map(), newKey: () => keyFrom(random) },
    pollMs: pick(1_000, 15_000),
    fsyncMaxMs: options.fsyncMaxMs ?? pick(0, 0, 500),
    options: {
      blockOctets: pick(5_000, 16_384, 65_536),
      windowOctets: pick(32_768, 131_072),
      // Not less than the window, which is what a sender takes for granted before it was told.
      inboxOctetsMax: 131_072,
    },
    giveBack: pick(0, 0.1),
    isPoison: (n) => options.poisonEach !== undefined && n % options.poisonEach === 0,
    keyUnknown: () => (isHealed ? 0 : 0.03),
  };
  const peers: Peer[] = [];
  for (let index = 0; index < (options.peers ?? pick(2, 3)); index += 1) {
    const peer = new Peer(`p${index}@ring.test`, context);
    peers.push(peer);
    peer.isConsuming = options.lazy !== true;
    await time.until(peer.start());
  }
  const sizes = () => pick(1, 1, 40, 1_024, 1_024, 3_000, 20_000, pick(1, 70_000));
  const count = options.messages ?? pick(10, 40, 80);
  for (let index = 0; index < count; index += 1) {
    const from = pick(...peers);
    const to = pick(...peers.filter((peer) => peer !== from));
    const stream = pick("main", "main", "side");
    const ttlMs = random() < (options.mortal ?? 0.04) ? 60_000 : undefined;
    const octets = sizes();
    time.after(random() * busyMs * 0.7, () => void from.send(to.user, stream, octets, ttlMs));
  }
  const crashes = options.crashes ?? pick(0, 2, 6);
  for (let index = 0; index < crashes; index += 1) {
    const peer = pick(...peers);
    const crash = {
      afterOperations: pick(0, 1 + Math.floor(random() * 30)),
      downMs: random() * pick(1_000, 120_000),
      power: random() < 0.6,
      wipe: random() < (options.wipe ?? 0.15),
    };
    time.after(random() * busyMs, () => void peer.crash(crash));
  }
  await time.run(startMs + busyMs);
  for (const peer of peers) peer.isConsuming = true;
  isHealed = true;
  // The route stays as narrow as it was.
  post.faults = { ...noFaults, sizeMax: faults.sizeMax, sizeBounce: faults.sizeBounce };
  for (const peer of peers) peer.wake();
  const isQuiet = () => book.open === 0 || book.violations.length > 0;
  await time.run(startMs + (options.healMs ?? healedMs), isQuiet);
  book.close();
  const quietMs = time.nowMs();
  // What was settled must not come again.
  await time.run(quietMs + 60_000);
  if (!peers.some(({ hasCrashed }) => hasCrashed)) checkWindows(peers, book);
  return {
    ...{ violations: book.violations, messages: book.messages, consumed: book.consumed.size },
    ...{ dead: book.dead.size, mails: post.mails, octets: post.octets },
    simulatedMs: quietMs - startMs,
  };
}

/**
 * A receiver may always leave a mail in its maildrop, but a sender that keeps to what it was granted gives it no cause
 * to: a grant counts what is held when it is given, and the sender subtracts all that it sent and knows no
 * acknowledgement of, so that acknowledgements that are lost, late or cut to 32 ranges only narrow it. There is one
 * exception: octets of a message that was given up while they were on their way are counted by nobody, and lie in
 * the inbox until the word that they are void arrives. By so much, and no more, an inbox may be overrun (what does not
 * fit waits in the maildrop, and comes later: `lost` and `order` judge that). A restart forgets grants.
 */
function checkWindows(peers: readonly Peer[], book: Book): void {
  for (const { user, kept } of peers) {
    for (const why of kept) {
      const [, excess, from = ""] = /^the inbox is full: (\d+) .* from (.*)$/.exec(why) ?? [];
      if (excess === undefined || Number(excess) <= book.deadOctets(from, user)) continue;
      return book.violate("overrun", `${user}, ${why}`);
    }
  }
}
