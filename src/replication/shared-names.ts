/** What of this node's catalog concerns another member, by the roster. */
import type { MemberUuid } from "../shared/ids.js";
import type { RegisterState } from "../shared/operation.js";
import type { Groups } from "./group.js";
import type { CatalogLine, CatalogPage, RegisterLine } from "./peer-methods.js";
import { isInGroup, type Placement } from "./placement.js";
import type { CatalogEntry, Store } from "./ports.js";
import { placeOf } from "./registers.js";
import { isZero } from "./ballot.js";
import { lineOf, type Shared } from "./digests.js";
import { limits } from "../shared/limits.js";

/** Registers that decide the roster belong to nobody's range. */
const isRosterRegister = (register: string): boolean => register.startsWith("roster:");

export class SharedNames {
  constructor(
    private readonly self: MemberUuid,
    private readonly store: Store,
    private readonly groups: Groups,
  ) {}

  /** Mailboxes that this node keeps and should. */
  *mailboxesWith(other: MemberUuid): Iterable<CatalogEntry> {
    for (const entry of this.store.catalog()) {
      const placement = this.groups.placementOf(entry.mailbox);
      if (isInGroup(placement, this.self) && isInGroup(placement, other)) yield entry;
    }
  }

  *registersWith(other: MemberUuid): Iterable<readonly [string, RegisterState]> {
    for (const [name, state] of this.store.registers()) {
      if (isRosterRegister(name)) continue;
      const placement = this.groups.placementOf(placeOf(name));
      if (isInGroup(placement, this.self) && isInGroup(placement, other)) yield [name, state];
    }
  }

  /** What both this node and the other keep, or should. */
  sharedWith(other: MemberUuid): Shared {
    return { mailboxes: this.mailboxesWith(other), registers: this.registersWith(other) };
  }

  /** Names of keys (mailboxes and accounts) that this node keeps something of. */
  *keys(): Iterable<string> {
    const seen = new Set<string>();
    for (const { mailbox } of this.store.catalog()) {
      seen.add(mailbox);
      yield mailbox;
    }
    for (const [name, { accepted }] of this.store.registers()) {
      const key = placeOf(name);
      if (!isRosterRegister(name) && !seen.has(key) && !isZero(accepted)) yield key;
    }
  }

  /** Mailboxes that this node keeps and need not: hints, and what a change of members left. */
  *foreignMailboxes(): Iterable<CatalogEntry> {
    for (const entry of this.store.catalog()) {
      if (!isInGroup(this.groups.placementOf(entry.mailbox), this.self)) yield entry;
    }
  }

  keepsForeign(): boolean {
    return this.foreignMailboxes()[Symbol.iterator]().next().done !== true;
  }

  registersAfter(after: string): { registers: readonly RegisterLine[]; more: boolean } {
    const all = [...this.store.registers()]
      .filter(([register]) => register > after && !isRosterRegister(register))
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const registers = all
      .slice(0, limits.pageEntriesMax)
      .map(([register, state]) => ({ register, state }));
    return { registers, more: all.length > registers.length };
  }

  /** A page of what `other` gains by the change in progress, of what is ours to tell. */
  gainsOf(other: MemberUuid, after: string): CatalogPage {
    const concerned = (name: string): boolean => {
      const placement = this.groups.placementOf(name);
      return (
        gains(placement, other) && placement.current.some((member) => member.uuid === this.self)
      );
    };
    const lines: { name: string; mailbox?: CatalogLine; register?: RegisterLine }[] = [];
    for (const entry of this.store.catalog()) {
      const name = `m ${entry.mailbox}`;
      if (name > after && concerned(entry.mailbox)) lines.push({ name, mailbox: lineOf(entry) });
    }
    for (const [register, state] of this.store.registers()) {
      const name = `r ${register}`;
      if (name <= after || isRosterRegister(register)) continue;
      if (concerned(placeOf(register))) lines.push({ name, register: { register, state } });
    }
    lines.sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = lines.slice(0, limits.pageEntriesMax);
    return {
      kind: "page",
      mailboxes: page.flatMap(({ mailbox }) => mailbox ?? []),
      registers: page.flatMap(({ register }) => register ?? []),
      more: lines.length > page.length,
    };
  }
}

/**
 * True when the member has to read the key from the others before the change in progress is
 * complete: it keeps it after and not before, or the group gets smaller, so that fewer members
 * have to know all that a majority of more knew.
 */
export function gains({ current, next, lost = 0 }: Placement, uuid: MemberUuid): boolean {
  if (!next.some((member) => member.uuid === uuid)) return false;
  return next.length < current.length + lost || !current.some((member) => member.uuid === uuid);
}
