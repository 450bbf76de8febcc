/** Who remembers values of registers hears when one was changed. */
import type { Membership } from "./membership.js";
import type { Peers } from "./peers.js";

type Listener = (register: string) => void;

const deadlineMs = 500;

export class RegisterNews {
  private readonly listeners: Listener[] = [];

  constructor(
    private readonly peers: Peers,
    private readonly membership: Membership,
  ) {}

  onChanged(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** News from a member. */
  heard(register: string): void {
    for (const listener of this.listeners) listener(register);
  }

  /**
   * Makes every member forget what it remembers of a register; who is silent forgets by itself.
   * True when every member has heard it.
   */
  async tell(register: string): Promise<boolean> {
    const told = await Promise.allSettled(
      this.membership.roster.members.map((member) =>
        this.peers.call(member, "registerChanged", { register }, { deadlineMs }),
      ),
    );
    return told.every(({ status }) => status === "fulfilled");
  }
}
