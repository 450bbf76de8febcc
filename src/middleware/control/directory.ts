/**
 * The directory: one register per user, with the newest record that the user has signed, as a whole,
 * and the devices that are believed to be the user's.
 *
 * A record is signed, so the ring can't add to it or take away from it. Which devices it believes is its
 * own business: each one has come in with a login of its own. The 16 that were heard of last stay until
 * they log out, also when the newest record does not name them: a second device need not know of the
 * first to log in, and the first can put a record in place that names both. A record makes nobody
 * believed but who signed it, or programs that name each other would push out those that are new.
 */
import type { DeviceKey, DirectoryRecord } from "../../ebm/index.js";
import type { Clock } from "../../replication/ports.js";
import type { Registers } from "../../replication/registers.js";
import type { MailboxName } from "../../shared/ids.js";
import { controlLimits } from "./limits.js";

export interface DirectoryEntry {
  readonly record: DirectoryRecord;
  readonly devices: readonly DeviceKey[];
}

export type DirectoryAnswer =
  | { readonly kind: "entry"; readonly entry: DirectoryEntry }
  | { readonly kind: "unknown" }
  | { readonly kind: "undecided" };

interface DirectoryOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Tells all members, this one too, to `forget` a register. */
  readonly announceChanged: (register: string) => Promise<void>;
}

const rememberedMs = 5_000;
const rememberedMax = 10_000;
const registerOf = (user: MailboxName): string => `id:${user}`;

export class Directory {
  private readonly remembered = new Map<string, { entry: DirectoryEntry; untilMs: number }>();
  private changes = 0;

  constructor(private readonly options: DirectoryOptions) {}

  /** Up to 5 s old, when a member could not be told of a change. That there is none is never remembered. */
  async recall(user: MailboxName): Promise<DirectoryAnswer> {
    const { registers, clock } = this.options;
    const register = registerOf(user);
    const known = this.remembered.get(register);
    if (known && known.untilMs > clock.monotonicMs()) return { kind: "entry", entry: known.entry };
    const { changes } = this;
    const answer = await registers.read(register, { alone: true });
    if (answer.kind === "undecided") return answer;
    if (answer.kind === "absent" || !answer.value) return { kind: "unknown" };
    const entry = answer.value as DirectoryEntry;
    if (changes === this.changes) {
      if (this.remembered.size >= rememberedMax) this.remembered.clear();
      this.remembered.set(register, { entry, untilMs: clock.monotonicMs() + rememberedMs });
    }
    return { kind: "entry", entry };
  }

  /** Replaces an older record. The caller has checked the record, and who sends it. */
  put(user: MailboxName, record: DirectoryRecord): Promise<"done" | "older" | "undecided"> {
    return this.change(user, (before) => {
      // Its own work, after an interrupted round, or a question that comes again.
      const signer = signerOf(record);
      if (before?.record.signature === record.signature && believes(before, signer)) return "done";
      if (before && before.record.version >= record.version) return "older";
      return { record, devices: merged(signer, before?.devices ?? []) };
    });
  }

  /**
   * As `put`, for somebody who has logged in: when another device was faster with a newer record, that one
   * stays, and the device of this one is believed. It then makes a record that names both.
   */
  async admit(user: MailboxName, record: DirectoryRecord): Promise<"done" | "undecided"> {
    const done = await this.put(user, record);
    if (done !== "older") return done;
    const own = signerOf(record);
    const admitted = await this.change(user, (before) => {
      if (!before) return { record, devices: own };
      const isBelieved = believes(before, own);
      return isBelieved ? "done" : { ...before, devices: merged(own, before.devices) };
    });
    return admitted === "older" ? "done" : admitted;
  }

  /** The device is not believed any more. The record stays: it says where messages can wait. */
  async removeDevice(user: MailboxName, device: string): Promise<"done" | "undecided"> {
    const done = await this.change(user, (before) => {
      if (!before) return "done";
      return { ...before, devices: before.devices.filter((one) => one.device !== device) };
    });
    return done === "older" ? "done" : done;
  }

  forget(register: string): void {
    if (!register.startsWith("id:")) return;
    this.changes += 1;
    this.remembered.delete(register);
  }

  private async change(
    user: MailboxName,
    make: (before: DirectoryEntry | undefined) => DirectoryEntry | "done" | "older",
  ): Promise<"done" | "older" | "undecided"> {
    const { registers, announceChanged } = this.options;
    const register = registerOf(user);
    const answer = await registers.change<"done" | "older">(register, (before) => {
      const made = make((before as DirectoryEntry | null) ?? undefined);
      return typeof made === "string" ? { result: made } : { set: { value: made }, result: "done" };
    });
    await announceChanged(register);
    return answer.kind === "undecided" ? "undecided" : answer.result;
  }
}

const believes = ({ devices }: DirectoryEntry, others: readonly DeviceKey[]): boolean =>
  others.every(({ device, key }) =>
    devices.some((one) => one.device === device && one.key === key),
  );

const signerOf = ({ devices, signedBy }: DirectoryRecord): readonly DeviceKey[] =>
  devices.filter(({ device }) => device === signedBy);

/** The newer ones first; of one device only its newest key. */
function merged(newer: readonly DeviceKey[], older: readonly DeviceKey[]): readonly DeviceKey[] {
  const keys = new Map<string, string>();
  for (const { device, key } of [...newer, ...older]) {
    if (!keys.has(device)) keys.set(device, key);
  }
  return [...keys].slice(0, controlLimits.devicesMax).map(([device, key]) => ({ device, key }));
}
