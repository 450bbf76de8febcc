/**
 * Which questions a user's devices have put already, so that a captured one is not done again,
 * through whatever node. One register per user: of each device the highest number of its newest epoch.
 */
import type { PacketHeader } from "../../ebm/index.js";
import type { Clock, Randomness } from "../../replication/ports.js";
import type { Registers, Update } from "../../replication/registers.js";
import type { MailboxName } from "../../shared/ids.js";
import { controlLimits } from "./limits.js";

interface Numbered {
  readonly device: string;
  readonly epoch: number;
  readonly packet: number;
  readonly atMs: number;
  /** Of the proposal that made it, to recognise one's own after an interrupted round. */
  readonly nonce: string;
}

export type Novelty = "new" | "seen" | "full" | "undecided";

interface PacketNumbersOptions {
  readonly registers: Pick<Registers, "read" | "change">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly random: Randomness;
}

const registerOf = (user: MailboxName): string => `ebm:${user}`;
/** What was numbered before that has expired, with clocks apart. */
const forgottenMs = controlLimits.questionMsMax + controlLimits.skewMs;

export class PacketNumbers {
  constructor(private readonly options: PacketNumbersOptions) {}

  /** Without noting it: a stranger leaves nothing behind. */
  async check(user: MailboxName, header: PacketHeader): Promise<Novelty> {
    const answer = await this.options.registers.read(registerOf(user), { alone: true });
    if (answer.kind === "undecided") return "undecided";
    const known = answer.kind === "value" ? numberedIn(answer.value) : [];
    return isNew(known, header) ? "new" : "seen";
  }

  /** At most one of several that note the same number at once is told that it is new. */
  async note(user: MailboxName, header: PacketHeader): Promise<Novelty> {
    const { registers, clock, random } = this.options;
    const nonce = random.bytes(9).toString("base64url");
    const { device, epoch } = header.from;
    const note = (before: unknown): Update<Novelty> => {
      const known = numberedIn(before);
      if (known.some((one) => one.nonce === nonce)) return { result: "new" };
      if (!isNew(known, header)) return { result: "seen" };
      const atMs = clock.wallMs();
      const others = known.filter((one) => one.device !== device);
      const isFull = others.length >= controlLimits.numberedDevicesMax;
      const kept = isFull ? others.filter((one) => one.atMs > atMs - forgottenMs) : others;
      if (kept.length >= controlLimits.numberedDevicesMax) return { result: "full" };
      const devices = [...kept, { device, epoch, packet: header.packet, atMs, nonce }];
      return { set: { value: { devices } }, result: "new" };
    };
    const answer = await registers.change(registerOf(user), note, { again: true });
    return answer.kind === "undecided" ? "undecided" : answer.result;
  }
}

const numberedIn = (value: unknown): readonly Numbered[] =>
  (value as { devices?: readonly Numbered[] } | null)?.devices ?? [];

function isNew(known: readonly Numbered[], { from, packet }: PacketHeader): boolean {
  const last = known.find(({ device }) => device === from.device);
  if (!last || from.epoch > last.epoch) return true;
  return from.epoch === last.epoch && packet > last.packet;
}
