/** What happened in a run: as a hash, to compare runs, and as lines, to be read. */
import { createHash } from "node:crypto";
import type { PeerMessage, Store } from "../../src/replication/ports.js";
import type { Address, MemberUuid } from "../../src/shared/ids.js";
import type { Operation } from "../../src/shared/operation.js";
import type { SimulationClock } from "./replication-clock.js";

/** Told every line of a run. */
export type Witness = (line: string) => void;

const pendingMax = 16_384;

export class Trace {
  readonly #hash = createHash("sha256");
  #pending = "";

  constructor(
    private readonly clock: SimulationClock,
    private readonly witness: Witness | undefined,
  ) {}

  get isWatched(): boolean {
    return this.witness !== undefined;
  }

  add(text: string): void {
    this.#pending += `${this.clock.nowMs} ${text}\n`;
    this.note(() => text);
    if (this.#pending.length < pendingMax) return;
    this.#hash.update(this.#pending);
    this.#pending = "";
  }

  message(from: Address, to: Address, method: string, reply: PeerMessage | undefined): void {
    const kind = reply ? ` ${(reply as { kind?: string }).kind ?? "answer"}` : "";
    this.#pending += `${this.clock.nowMs} ${from} ${to} ${method}${kind}\n`;
    if (this.witness && method !== "beat") this.note(() => `${from} > ${to} ${method}${kind}`);
  }

  note(text: () => string): void {
    this.witness?.(`${this.clock.nowMs.toFixed(1).padStart(9)} ms  ${text()}`);
  }

  digest(): string {
    return this.#hash.update(this.#pending).digest("hex");
  }

  /** Tells what a member writes, when it begins and when it is durable. Changes nothing. */
  observed(uuid: MemberUuid, store: Store): Store {
    const write: Store["write"] = (operations, bodies) => {
      const texts = operations.flatMap(describe);
      const written = store.write(operations, bodies);
      if (texts.length > 0) {
        const tell = (how: string) => this.note(() => `${uuid} ${how}: ${texts.join(", ")}`);
        tell("writes");
        written.then(
          () => tell("has on disk"),
          (error: unknown) => tell(`could not write (${String(error)})`),
        );
      }
      return written;
    };
    return new Proxy(store, {
      get: (target, name) => {
        if (name === "write") return write;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }
}

function describe(operation: Operation): readonly string[] {
  switch (operation.kind) {
    case "AddMessage":
      return [`add ${operation.message.id} to ${operation.mailbox}`];
    case "RemoveMessage":
      return [`remove ${operation.tombstone.id} from ${operation.mailbox}`];
    case "RaiseFloor":
      return [`raise floor of ${operation.mailbox} to ${operation.floor.below}`];
    case "DropMailbox":
      return [`drop ${operation.mailbox}`];
    case "PutRegister": {
      const { promised, accepted } = operation.state;
      const of = ({ counter, proposer }: typeof promised) => `${counter}/${proposer}`;
      return [`${operation.register} promised ${of(promised)} accepted ${of(accepted)}`];
    }
    case "ConfirmMessages":
      return [`confirm ${operation.ids.join(" ")}`];
    case "PutLocal":
      return [];
  }
}
