import type { BodyDigest, MailboxName } from "../shared/ids.js";
import type { Operation, RegisterState, StoredMessage } from "../shared/operation.js";
import { unreachable } from "../shared/unreachable.js";
import type { BodyStore } from "./bodies.js";
import type { JournalPosition } from "./journal.js";
import type { Mailboxes } from "./mailboxes.js";
import { Recent } from "./recent.js";
import type { JournaledOperation } from "./journaled-operation.js";
import type { RecordHeader } from "./record.js";
import { VersionedValues } from "./versioned-values.js";

/** Octets that a message's operation takes in the journal, about. */
const operationOctets = 700;

/** Everything that the journal comes to: what a record does when it is durable, or replayed. */
export class State {
  readonly registers: VersionedValues<RegisterState>;
  readonly locals: VersionedValues<unknown>;
  /** Octets of a segment that nothing needs any more, about. */
  readonly dead = new Map<number, number>();
  readonly #countedBodies = new Recent<true>(10_000);

  constructor(
    readonly bodies: BodyStore,
    makeMailboxes: (onRemoved: (message: StoredMessage) => void) => Mailboxes,
  ) {
    const onDead = (segment: number, octets: number) => {
      this.addDead(segment, octets);
    };
    this.registers = new VersionedValues(onDead);
    this.locals = new VersionedValues(onDead);
    this.mailboxes = makeMailboxes((message) => {
      this.#onRemoved(message.digest);
    });
  }

  readonly mailboxes: Mailboxes;

  addDead(segment: number, octets: number): void {
    if (segment > 0) this.dead.set(segment, (this.dead.get(segment) ?? 0) + octets);
  }

  /** A guess: another mailbox may still need the body. A compaction finds out. */
  #onRemoved(digest: BodyDigest): void {
    const location = this.bodies.locate(digest);
    if (location === undefined) return;
    const isFirst = this.#countedBodies.get(digest) === undefined;
    this.#countedBodies.set(digest, true);
    const bodyOctets = isFirst && location.offset !== undefined ? location.octets : 0;
    this.addDead(location.segment, bodyOctets + operationOctets);
  }

  /** Makes an operation visible (registers, local values) and gives it its order. */
  begin(operation: Operation): JournaledOperation {
    switch (operation.kind) {
      case "AddMessage":
      case "RemoveMessage":
      case "RaiseFloor":
      case "DropMailbox":
        return { ...operation, epoch: this.mailboxes.begin(operation.mailbox, operation.kind) };
      case "PutRegister":
        return {
          ...operation,
          version: this.registers.begin(operation.register, operation.state),
        };
      case "PutLocal":
        return { ...operation, version: this.locals.begin(operation.key, operation.value) };
      case "ConfirmMessages":
        return operation;
      default:
        return unreachable(operation);
    }
  }

  refuse(operation: JournaledOperation): void {
    if (operation.kind === "PutRegister") {
      this.registers.refuse(operation.register, operation.version);
    } else if (operation.kind === "PutLocal") {
      this.locals.refuse(operation.key, operation.version);
    } else if (operation.kind !== "ConfirmMessages") this.mailboxes.refuse(operation.mailbox);
  }

  /** An operation that `begin` announced is durable. */
  settle(operation: JournaledOperation, segment: number, octets: number): void {
    if (operation.kind === "PutRegister" || operation.kind === "PutLocal") {
      this.replay(operation, segment, octets);
    } else if (operation.kind !== "ConfirmMessages") this.mailboxes.settle(operation);
  }

  /** An operation was found in the journal. */
  replay(operation: JournaledOperation, segment: number, octets: number): void {
    switch (operation.kind) {
      case "PutRegister":
        this.registers.settle({
          key: operation.register,
          version: operation.version,
          value: operation.state,
          segment,
          octets,
        });
        return;
      case "PutLocal":
        this.locals.settle({
          key: operation.key,
          version: operation.version,
          value: operation.value,
          segment,
          octets,
        });
        return;
      case "ConfirmMessages":
        // See `LastMessages`.
        return;
      default:
        this.mailboxes.apply(operation);
    }
  }

  hasMailbox(name: MailboxName): boolean {
    return this.mailboxes.has(name);
  }
}

/** Where the bodies of a record are, in the order of its header. */
export function bodyLocations(
  header: RecordHeader,
  position: JournalPosition,
  bodyOffset: number,
): [digest: string, location: { segment: number; offset: number | undefined; octets: number }][] {
  const { segment } = position;
  let offset = position.offset + bodyOffset;
  const inline = header.bodies.map(([digest, octets]) => {
    const at = offset;
    offset += octets;
    return [digest, { segment, offset: at, octets }] as [
      string,
      { segment: number; offset: number | undefined; octets: number },
    ];
  });
  for (const [digest, octets] of header.files) {
    inline.push([digest, { segment, offset: undefined, octets }]);
  }
  return inline;
}
