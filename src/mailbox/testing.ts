/** A registry over registers in memory. */
import type { Registers } from "../replication/registers.js";
import type { MailboxName } from "../shared/ids.js";
import type { Quota } from "./account.js";
import type { Passwords } from "./passwords.js";
import type { Amount } from "./quotas.js";
import { createRegistry, type Registry } from "./registry.js";

type Update = (value: unknown) => { set?: { value: unknown }; result: unknown };

export const scram = { salt: "c2FsdA==", iterations: 4_096, storedKey: "", serverKey: "" };

export class FakeRegisters {
  readonly values = new Map<string, unknown>();
  /** Registers of which no majority answers; `all` for every one. */
  readonly silent = new Set<string>();
  reads = 0;
  /** Done by somebody else between two rounds of a change, or while a question is under way. */
  meanwhile: (() => void) | undefined;

  private isSilent(register: string): boolean {
    return this.silent.has("all") || this.silent.has(register);
  }

  read(register: string): Promise<unknown> {
    this.reads += 1;
    if (this.isSilent(register)) return Promise.resolve({ kind: "undecided" });
    const found = this.values.has(register);
    const value = this.values.get(register);
    this.meanwhile?.();
    return Promise.resolve(found ? { kind: "value", value } : { kind: "absent" });
  }

  change(register: string, update: Update): Promise<unknown> {
    if (this.isSilent(register)) return Promise.resolve({ kind: "undecided" });
    // As in an interrupted round: the update runs again on what it made itself.
    for (let round = 0; ; round += 1) {
      const { set, result } = update(this.values.get(register) ?? null);
      if (set) this.values.set(register, set.value);
      if (round === 0) this.meanwhile?.();
      const value = this.values.get(register);
      if (!set || round === 1) return Promise.resolve({ kind: "changed", value, result });
    }
  }
}

export interface World {
  readonly registers: FakeRegisters;
  readonly registry: Registry;
  readonly announced: string[];
  nowMs: number;
  /** By mailbox; absent: nobody answers. */
  readonly usage: Map<MailboxName, Amount>;
  /** How often the group of a mailbox was asked how much it holds. */
  asked: number;
}

export function createWorld(options: { quota?: Quota; trial?: boolean; members?: number } = {}) {
  let nonces = 0;
  const registers = new FakeRegisters();
  const world: World = {
    registers,
    announced: [],
    nowMs: 0,
    usage: new Map(),
    asked: 0,
    registry: createRegistry({
      registers: registers as unknown as Registers,
      passwords: {
        credentials: (text: string) => Promise.resolve({ passwordHash: `h:${text}`, scram }),
      } as unknown as Passwords,
      domain: "ring.test",
      clock: { wallMs: () => 7, monotonicMs: () => world.nowMs, sleep: () => Promise.resolve() },
      random: {
        bytes: (n) => {
          nonces += 1;
          return Buffer.alloc(n, nonces);
        },
      },
      announceChanged: (register) => {
        world.announced.push(register);
        world.registry.forget(register);
        return Promise.resolve();
      },
      quota: options.quota ?? {},
      trial: options.trial ?? false,
      usageOf: (mailbox) => {
        world.asked += 1;
        return Promise.resolve(world.usage.get(mailbox));
      },
      members: () => options.members ?? 3,
    }),
  };
  return world;
}

export const box = (name: string): MailboxName =>
  (name.includes("@") ? name : `${name}@ring.test`) as MailboxName;
