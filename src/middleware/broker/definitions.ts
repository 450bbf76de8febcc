/**
 * Exchanges and queues as the ring knows them: one register each, kept by the group of its name,
 * read from a majority and remembered for 5 s, or until a change is announced.
 */
import type { ExchangeType, Permitted } from "../../ebm/index.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { MailboxName } from "../../shared/ids.js";
import { brokerLimits } from "./limits.js";
import type { Pattern } from "./routing.js";

export interface ExchangeFields {
  readonly owner: MailboxName;
  readonly type: ExchangeType;
  readonly publishers: Permitted;
  readonly subscribers: Permitted;
  readonly bindings: readonly BoundQueue[];
}

export interface BoundQueue extends Pattern {
  readonly queue: string;
  /** A queue that is made anew under the name is not bound. */
  readonly incarnation: string;
}

export interface QueueFields {
  readonly owner: MailboxName;
  /**
   * Of this making of the queue: entries and bindings name it, so that whoever gets the name later
   * gets nothing of the former one's.
   */
  readonly incarnation: string;
  readonly exclusive: boolean;
  readonly consumers: Permitted;
  readonly publishers: Permitted;
  readonly leaseMs: number;
  readonly deliveriesMax: number;
  readonly deadLetters?: string;
  readonly messagesMax: number;
  /** Absent: "reject". */
  readonly overflow?: "drop-oldest";
  readonly octetsMax: number;
  readonly push: boolean;
  /** Exchanges that it may be bound to. */
  readonly boundTo: readonly string[];
}

/** The names of what a user has declared, as `e <name>` and `q <name>`. */
export interface OwnedFields {
  readonly names: readonly string[];
}

/** As it lies in the register. */
type Kept<T> = Partial<T> & {
  /** Of the proposal that made it, to recognise one's own after an interrupted round. */
  readonly nonce: string;
  readonly removed?: true;
};

export type Found<T> =
  | { readonly kind: "found"; readonly value: T }
  | { readonly kind: "unknown" }
  | { readonly kind: "undecided" };

export interface DefinitionsOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Tells all members, this one too, to `forget` a register; true when each of them has heard it. */
  readonly tellChanged: (register: string) => Promise<boolean>;
}

/** A member that was not reached is tried again. */
const tellAgainMs = 250;

/** Registers of one kind, by name. */
export class Definitions<T extends object> {
  private remembered = new Map<string, { readonly value: T; readonly untilMs: number }>();
  private changes = 0;

  constructor(
    private readonly kind: "exchange" | "queue" | "owned",
    private readonly options: DefinitionsOptions,
  ) {}

  private registerOf(name: string): string {
    return `${this.kind}:${name}`;
  }

  /** What is agreed. */
  async read(name: string): Promise<Found<T>> {
    const answer = await this.options.registers.read(this.registerOf(name), { alone: true });
    if (answer.kind === "undecided") return { kind: "undecided" };
    const value = answer.kind === "value" ? valueOf<T>(answer.value) : undefined;
    return value ? { kind: "found", value } : { kind: "unknown" };
  }

  /** As `read`, and up to 5 s old. That there is none is never remembered. */
  async recall(name: string): Promise<Found<T>> {
    const { clock } = this.options;
    const known = this.remembered.get(name);
    if (known && known.untilMs > clock.monotonicMs()) {
      return { kind: "found", value: known.value };
    }
    const { changes } = this;
    const readAtMs = clock.monotonicMs();
    const answer = await this.read(name);
    // What was read before a change was told of may be what was there before it.
    if (answer.kind === "found" && changes === this.changes) {
      if (this.remembered.size >= brokerLimits.rememberedMax) this.remembered = new Map();
      // From before the read: a change that this read missed waits as long, see `everywhere`.
      const untilMs = readAtMs + brokerLimits.rememberedMs;
      this.remembered.set(name, { value: answer.value, untilMs });
    }
    return answer;
  }

  /** A register has changed somewhere. */
  forget(register: string): void {
    if (!register.startsWith(`${this.kind}:`)) return;
    this.changes += 1;
    this.remembered.delete(register.slice(this.kind.length + 1));
  }

  /**
   * As `change`, and when it resolves no member goes by what was there before: each was told of the
   * change, or what it may remember is over.
   */
  async changeEverywhere<R extends string>(
    name: string,
    make: Parameters<typeof this.change<R>>[1],
  ): Promise<"done" | "undecided" | R> {
    return await this.change(name, make, { everywhere: true });
  }

  /** Changes the value. `make` may run several times, on newer values. */
  async change<R extends string>(
    name: string,
    make: (
      before: T | undefined,
    ) => { readonly set: T | "nothing" } | { readonly same: true } | { readonly refuse: R },
    { everywhere = false } = {},
  ): Promise<"done" | "undecided" | R> {
    const nonce = this.options.random.bytes(12).toString("base64url");
    let triedOn: string | undefined;
    const register = this.registerOf(name);
    let isChanged = false;
    let wasThere = false;
    const answer = await this.options.registers.change<"done" | "undecided" | R>(
      register,
      (before) => {
        const found = (before as Kept<T> | null)?.nonce ?? "";
        if (found === nonce) return { result: "done" };
        // An interrupted round may have made the change before others made theirs on top of it.
        if (triedOn !== undefined && triedOn !== found) return { result: "undecided" };
        const known = valueOf<T>(before);
        const made = make(known);
        if ("refuse" in made) return { result: made.refuse };
        if ("same" in made) return { result: "done" };
        triedOn = found;
        isChanged = true;
        wasThere ||= known !== undefined;
        const fields = made.set === "nothing" ? { removed: true as const } : made.set;
        return { set: { value: { ...fields, nonce } }, result: "done" };
      },
    );
    // What was not there nobody remembers.
    if (isChanged) await this.tell(register, everywhere && wasThere);
    return answer.kind === "undecided" ? "undecided" : answer.result;
  }

  private async tell(register: string, everywhere: boolean): Promise<void> {
    const { tellChanged, clock } = this.options;
    const untilMs = clock.monotonicMs() + brokerLimits.rememberedMs;
    while (!(await tellChanged(register)) && everywhere) {
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) return;
      await clock.sleep(Math.min(leftMs, tellAgainMs));
    }
  }
}

function valueOf<T>(value: unknown): T | undefined {
  const present = value as Kept<T> | null;
  if (!present || present.removed) return undefined;
  const { nonce: _nonce, removed: _removed, ...fields } = present;
  return fields as unknown as T;
}
