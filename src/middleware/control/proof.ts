/** Who is behind a packet: what the token, the device key and the packet itself say has to fit. */
import type { PacketHeader } from "../../ebm/index.js";
import type { Sessions } from "../../mailbox/sessions.js";
import type { Clock } from "../../replication/ports.js";
import type { ProvenSender } from "../ports.js";
import type { Directory, DirectoryEntry } from "./directory.js";
import { controlLimits } from "./limits.js";
import type { PacketNumbers } from "./packet-numbers.js";
import { denied, type Refusal, undecided } from "./refusal.js";

export type Proof =
  | { readonly ok: true; readonly sender: ProvenSender; readonly entry: DirectoryEntry }
  | Refusal;

interface ProofsOptions {
  readonly sessions: Pick<Sessions, "verify">;
  readonly directory: Directory;
  readonly numbers: PacketNumbers;
  /** What packets to the ring are addressed to: `ring@ring.test`. */
  readonly ring: string;
  readonly clock: Pick<Clock, "wallMs">;
}

export class Proofs {
  constructor(private readonly options: ProofsOptions) {}

  /** What a packet must say whoever sent it; undefined when that is well. */
  checkHeader({ to, expiresAtMs }: PacketHeader, isQuestion: boolean): Refusal | undefined {
    const { ring, clock } = this.options;
    if (to !== ring) return denied("it is addressed to somebody else");
    const ahead = expiresAtMs - clock.wallMs();
    if (isQuestion && ahead > controlLimits.questionMsMax) {
      return denied("it expires more than ten minutes ahead");
    }
    return undefined;
  }

  /** By token and device; the numbers are not looked at. */
  async sender(header: PacketHeader): Promise<Proof> {
    const { sessions, directory } = this.options;
    if (header.token === undefined) return denied("there is no session token");
    const checked = await sessions.verify(header.token);
    if (checked.kind === "undecided") return undecided();
    if (checked.kind === "denied") return denied("the session token is not valid (any more)");
    const { mailbox: user } = checked;
    const { device, epoch } = header.from;
    if (user !== header.from.user) return denied("the session token is somebody else's");
    const found = await directory.recall(user);
    if (found.kind === "undecided") return undecided();
    const devices = found.kind === "entry" ? found.entry.devices : [];
    const isKnown = devices.some((one) => one.device === device && one.key === header.key);
    if (found.kind !== "entry" || !isKnown) return denied("the device's key is not on record");
    return { ok: true, sender: { user, device, epoch }, entry: found.entry };
  }

  /** Notes the number of a question, ring-wide; undefined when it was never seen before. */
  async noteNumber({ user }: ProvenSender, header: PacketHeader): Promise<Refusal | undefined> {
    switch (await this.options.numbers.note(user, header)) {
      case "new":
        return undefined;
      case "seen":
        return denied("its packet number is not above those seen before");
      case "full":
        return { ok: false, code: "throttled", why: "too many devices within a few minutes" };
      case "undecided":
        return undecided();
    }
  }
}
