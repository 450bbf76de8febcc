/** A drill: a ring of its own under mail and faults, and then the reckoning. */
import { setTimeout as sleep } from "node:timers/promises";
import type { AdminCaller } from "../shared/admin.js";
import { type Check, checkAll } from "./check.js";
import { createDice, type Dice } from "./dice.js";
import {
  type Fault,
  type FaultKind,
  type FaultTools,
  nestedKinds,
  wipeableKinds,
  planFault,
  possibleKinds,
} from "./faults.js";
import { MailLoad } from "./load.js";
import type { Spawn } from "./member.js";
import { Network } from "./network.js";
import { openSession, servedElsewhere } from "./recovery.js";
import { countByWrong, distinct, type DrillReport, type FaultRecord } from "./report.js";
import { DrillRing } from "./ring.js";

export interface DrillOptions {
  /** An empty directory: `logs/` and `data/` come into it. */
  readonly folder: string;
  readonly members: number;
  readonly replicas: number;
  readonly faultSeconds: number;
  readonly seed: number;
  readonly spawn: Spawn;
  readonly admin: AdminCaller;
  /** One line per fault, and what else is going on. */
  readonly say: (line: string) => void;
}

const domain = "drill.test";
const password = "correct horse";
const kept = ["kept-1", "kept-2", "kept-3"];
const emptied = ["emptied-1", "emptied-2", "emptied-3"];
const probe = "probe";
const mailboxes = [...kept, ...emptied, probe];

const nestedChance = 0.35;
/** How often the next fault waits until the last one has healed. */
const healChance = 0.6;
const healDeadlineMs = 120_000;
const equalDeadlineMs = 180_000;
const wipeDeadlineMs = 6_000;

export class Drill {
  readonly #options: DrillOptions;
  readonly #network = new Network();
  readonly #ring: DrillRing;
  readonly #dice: Dice;
  readonly #load: MailLoad;
  readonly #tools: FaultTools;
  readonly #faults: FaultRecord[] = [];
  readonly #problems: string[] = [];
  readonly #startedAtMs = Date.now();
  readonly #startedMs = performance.now();
  /** A disk was lost, and the copies on it have not been seen to be made anew. */
  #isDiskLost = false;
  /** Kinds of fault that are still to come before one comes again. */
  #bag: FaultKind[] = [];

  constructor(options: DrillOptions) {
    this.#options = options;
    const { seed, folder, replicas, members, spawn, admin } = options;
    // One each: what one of them asks for depends on time and must not change what others get.
    this.#dice = createDice(seed);
    this.#ring = new DrillRing({
      ...{ folder, replicas, domain, spawn, admin },
      network: this.#network,
      dice: createDice(seed + 0x10000),
      onAccident: ({ id }, reason) => this.#problem(`member ${id} ended by itself: ${reason}`),
    });
    this.#load = new MailLoad(this.#ring, {
      ...{ kept, emptied, domain, password },
      dice: createDice(seed + 0x20000),
      senders: 4,
      replyDeadlineMs: 3_000,
      largePercent: 3,
      startedMs: this.#startedMs,
    });
    const { dice, network, ring } = { dice: this.#dice, network: this.#network, ring: this.#ring };
    this.#tools = { dice, network, ring, members, replicas };
  }

  /** @throws Error when the ring can't even be started */
  async run(): Promise<DrillReport> {
    const { members, faultSeconds, say } = this.#options;
    say(`starting ${members} members`);
    await this.#ring.found(members);
    await this.#ring.addAccounts(mailboxes, password);
    await this.#ring.untilOneRing(healDeadlineMs);
    this.#load.start();
    say(`mail is flowing; faults for ${faultSeconds} s`);
    await this.#sufferFor(faultSeconds * 1_000);
    say("no more faults; waiting until all copies are equal");
    const equalMs = await this.#settle();
    say("comparing what every member serves with what was promised");
    const check = await this.#check();
    return this.#report(check, equalMs);
  }

  /** Ends every process. Idempotent. */
  async stop(): Promise<void> {
    await this.#ring.stop();
    this.#network.close();
  }

  #problem(text: string): void {
    this.#problems.push(`${this.#clock()}: ${text}`);
    this.#options.say(`${this.#clock()}  PROBLEM: ${text}`);
  }

  #clock(): string {
    return `${((performance.now() - this.#startedMs) / 1_000).toFixed(1)} s`;
  }

  async #sufferFor(durationMs: number): Promise<void> {
    const endMs = performance.now() + durationMs;
    try {
      while (performance.now() < endMs) {
        await sleep(this.#dice.whole(0, 300));
        const fault = planFault(await this.#nextKind(), this.#tools);
        if (fault !== undefined) await this.#suffer(fault);
      }
    } catch (error) {
      this.#problem(messageOf(error));
    }
  }

  /** In an order by chance; no kind twice before all that are possible came once. */
  async #nextKind(): Promise<FaultKind> {
    const possible = possibleKinds(this.#tools);
    if (!this.#bag.some((kind) => possible.includes(kind))) {
      this.#bag.push(...this.#dice.shuffled(possible));
    }
    const at = this.#bag.findIndex((kind) => possible.includes(kind));
    const [kind = "kill"] = this.#bag.splice(at, 1);
    // To evict one whose copies another has lost would wait for the one that is down.
    const needsAll = kind === "wipe" || kind === "evict";
    return !needsAll || (await this.#hasAllCopies()) ? kind : "kill";
  }

  /** Mail is promised to survive one disk at a time: the copies made anew before the next. */
  async #hasAllCopies(): Promise<boolean> {
    if (!this.#isDiskLost) return true;
    try {
      await this.#ring.untilOneRing(wipeDeadlineMs);
      await this.#ring.untilEqual(mailboxes, wipeDeadlineMs);
      this.#isDiskLost = false;
      return true;
    } catch {
      return false;
    }
  }

  /** A fault to happen while `outer` is there. */
  #planNested(outer: Fault): Fault | undefined {
    const { dice, ring } = this.#tools;
    const mayWipe =
      !this.#isDiskLost && wipeableKinds.includes(outer.kind) && ring.present.length > 3;
    // The disk of one that is cut off is the one that most depends on the others' copies.
    if (mayWipe && dice.chance(0.4)) return planFault("wipe", this.#tools, [], outer.victims);
    return planFault(dice.pick(nestedKinds), this.#tools, outer.victims);
  }

  async #suffer(fault: Fault, outer?: Fault): Promise<void> {
    const { dice } = this.#tools;
    const record: FaultRecord = {
      kind: fault.kind,
      what: fault.what,
      atMs: performance.now() - this.#startedMs,
      ...(outer && { during: outer.kind }),
    };
    this.#faults.push(record);
    const isDelicate = fault.kind === "wipe" && this.#ring.present.length <= 3;
    const nests = outer === undefined && !isDelicate && dice.chance(nestedChance);
    const client = { load: this.#load, mailbox: probe, password };
    const session = outer === undefined ? await openSession(fault, client) : undefined;
    const measure = async (): Promise<void> => {
      if (outer !== undefined) return;
      const served = await servedElsewhere(fault, client);
      if (!nests) Object.assign(record, served);
    };
    if (fault.kind === "wipe") this.#isDiskLost = true;
    const begun = fault.begin();
    let inner: Fault | undefined;
    let served = fault.hitsAll === true ? Promise.resolve() : measure();
    for (const waited of [begun, served]) waited.catch(() => undefined);
    if (nests) {
      await Promise.race([served, sleep(dice.whole(0, 800))]);
      inner = this.#planNested(fault);
      if (inner !== undefined) await this.#suffer(inner, fault);
    }
    await begun;
    await sleep(fault.holdMs);
    // Nobody takes an empty member in while its ring is in pieces: the outer fault ends first.
    if (outer !== undefined && fault.kind === "wipe") return this.#sayFault(record, true);
    const ended = fault.end();
    ended.catch(() => undefined);
    if (fault.hitsAll === true) served = measure();
    served.catch(() => undefined);
    await ended;
    const endedMs = performance.now();
    // A fault shorter than the lock's lease has taken nothing from the session's client.
    session?.destroy();
    await served;
    if (inner?.kind === "wipe") await inner.end();
    if (outer === undefined && (isDelicate || dice.chance(healChance))) {
      await this.#ring.untilOneRing(healDeadlineMs);
      if (!nests) record.oneRingMs = performance.now() - endedMs;
    }
    this.#sayFault(record, outer !== undefined);
  }

  #sayFault({ what, atMs, loginMs, acceptedMs, oneRingMs }: FaultRecord, isNested: boolean): void {
    const at = `${(atMs / 1_000).toFixed(1)} s`.padStart(7);
    const times = Object.entries({ login: loginMs, mail: acceptedMs, "one ring": oneRingMs })
      .filter(([, ms]) => ms !== undefined)
      .map(([name, ms]) => `${name} ${((ms ?? 0) / 1_000).toFixed(2)} s`);
    const rest = times.length === 0 ? "" : ` (${times.join(", ")})`;
    this.#options.say(`${at}  ${isNested ? "meanwhile " : ""}${what}${rest}`);
  }

  /** Everything works again; answers how long until all copies were equal. */
  async #settle(): Promise<number | undefined> {
    const ring = this.#ring;
    const startedMs = performance.now();
    this.#network.heal();
    try {
      for (const member of ring.present) if (member.state === "frozen") member.thaw();
      const down = ring.present.filter(({ state }) => state === "down");
      await Promise.all(down.map((member) => member.start(ring.entriesFor(member))));
      await this.#load.stop();
      await ring.untilOneRing(healDeadlineMs);
      await ring.untilEqual(mailboxes, equalDeadlineMs);
      return performance.now() - startedMs;
    } catch (error) {
      this.#problem(messageOf(error));
      await this.#load.stop();
      return undefined;
    }
  }

  async #check(): Promise<Check> {
    try {
      const { book } = this.#load;
      const check = await checkAll(book, mailboxes, this.#ring.up, password);
      for (const difference of check.differences) this.#problem(difference);
      return check;
    } catch (error) {
      this.#problem(`the check could not be made: ${messageOf(error)}`);
      return { violations: [], differences: [], mails: 0 };
    }
  }

  #report(check: Check, equalMs: number | undefined): DrillReport {
    const { seed, members, replicas, faultSeconds } = this.#options;
    const violations = distinct([...this.#load.violations, ...check.violations]);
    const problems = this.#problems;
    return {
      ok: violations.length === 0 && problems.length === 0,
      ...{ seed, members, replicas, faultSeconds },
      startedAtMs: this.#startedAtMs,
      mails: this.#load.counts,
      wrong: countByWrong(violations),
      ...{ violations, problems, faults: this.#faults },
      ...(equalMs === undefined ? {} : { equalMs }),
      checked: {
        members: this.#ring.up.length,
        mailboxes: mailboxes.length,
        mails: check.mails,
      },
    };
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause === undefined ? error.message : `${error.message} (${messageOf(cause)})`;
}
