/**
 * How many copies there really are: digests are compared, key by key. Each member answers for the
 * keys of whose group it is the first that lives.
 */
import type { MailboxName, MemberUuid } from "../shared/ids.js";
import { bucketDigests, Buckets, linesByBucket, linesOf } from "./digests.js";
import type { Groups } from "./group.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Membership } from "./membership.js";
import type { NameDigest, ReplyOf, RequestOf, Surveyed } from "./peer-methods.js";
import { neededOf } from "./placement.js";
import type { Clock, Store } from "./ports.js";
import { placeOf } from "./registers.js";
import type { Member } from "./roster.js";
import type { SharedNames } from "./shared-names.js";

interface SurveyOptions {
  readonly membership: Membership;
  readonly groups: Groups;
  readonly heartbeat: Heartbeat;
  readonly names: SharedNames;
  readonly store: Store;
  readonly clock: Clock;
}

const askDeadlineMs = 3_000;
/** What was written a moment ago shows at different moments: so few are looked at again. */
const recheckedMax = 500;
const recheckTries = 3;
const recheckAfterMs = 50;

/** `m alice@ring.test` and `r account:alice@ring.test` are of one key. */
const keyOf = (name: string): string =>
  name.startsWith("m ") ? name.slice(2) : placeOf(name.slice(2));

export class Survey {
  private readonly buckets = new Buckets();

  constructor(private readonly options: SurveyOptions) {}

  /** Serves `lines`. */
  lines(other: Member, theirs: readonly string[], from: number): ReplyOf<"lines"> {
    const shared = () => this.options.names.sharedWith(other.uuid);
    return { kind: "lines", ...linesOf(this.buckets, shared, theirs, from) };
  }

  /** Serves `survey`. */
  async take(): Promise<{ kind: "survey" } & Surveyed> {
    const { membership, heartbeat, groups, names } = this.options;
    const self = membership.self.uuid;
    const differing = new Map<MemberUuid, ReadonlySet<string>>([[self, new Set()]]);
    await Promise.all(
      membership.roster.members.map(async (member) => {
        if (member.uuid === self || member.lost || heartbeat.isQuiet(member.uuid)) return;
        const keys = await this.differencesWith(member);
        if (keys) differing.set(member.uuid, keys);
      }),
    );
    const byCopies: number[] = [];
    const byLiving: number[] = [];
    let withoutQuorum = 0;
    const count = (histogram: number[], at: number): void => {
      while (histogram.length <= at) histogram.push(0);
      histogram[at] = (histogram[at] ?? 0) + 1;
    };
    // Keys of which this member itself has nothing are told by the others.
    const keys = new Set([
      ...names.keys(),
      ...[...differing.values()].flatMap((some) => [...some]),
    ]);
    for (const key of keys) {
      const placement = groups.placementOf(key);
      const first = placement.everyone.find(({ uuid }) => differing.has(uuid));
      if (first?.uuid !== self) continue;
      const isEqual = ({ uuid }: Member): boolean => differing.get(uuid)?.has(key) === false;
      count(byCopies, placement.next.filter(isEqual).length);
      const living = placement.current.filter(({ uuid }) => differing.has(uuid)).length;
      count(byLiving, living);
      if (living < neededOf(placement)) withoutQuorum += 1;
    }
    return { kind: "survey", byCopies, byLiving, withoutQuorum };
  }

  /** Keys of which a member's copy is not the same as this node's; undefined: no answer. */
  private async differencesWith(member: Member): Promise<ReadonlySet<string> | undefined> {
    const { groups, membership, names } = this.options;
    const { epoch } = membership.roster;
    const buckets = bucketDigests(this.buckets, names.sharedWith(member.uuid));
    const ours = linesByBucket(this.buckets, names.sharedWith(member.uuid));
    const found = new Set<string>();
    for (let from: number | undefined = 0; from !== undefined; ) {
      const request: RequestOf<"lines"> = { epoch, buckets, from };
      const options = { deadlineMs: askDeadlineMs };
      const page: ReplyOf<"lines"> | undefined = await groups.askMember(
        member,
        "lines",
        request,
        options,
      );
      if (page?.kind !== "lines") return undefined;
      const known = page.differing.flatMap((bucket) => ours.get(bucket) ?? []);
      for (const name of unequal(known, page.lines)) found.add(name);
      from = page.next;
    }
    if (found.size <= recheckedMax) await this.recheck(member, found);
    return new Set([...found].map(keyOf));
  }

  private async recheck(member: Member, found: Set<string>): Promise<void> {
    const { groups, membership, store, clock } = this.options;
    const { epoch } = membership.roster;
    for (let attempt = 1; attempt <= recheckTries && found.size > 0; attempt += 1) {
      if (attempt > 1) await clock.sleep(recheckAfterMs);
      for (const name of [...found]) {
        if (!name.startsWith("m ")) continue;
        const mailbox = name.slice(2) as MailboxName;
        const request = { epoch, mailbox };
        const options = { deadlineMs: askDeadlineMs };
        const theirs = await groups.askMember(member, "summary", request, options);
        if (theirs?.kind !== "summary") return;
        const { summary } = await store.contents(mailbox);
        if (summary.digest === theirs.summary.digest) found.delete(name);
      }
    }
  }
}

function* unequal(ours: readonly NameDigest[], theirs: readonly NameDigest[]): Iterable<string> {
  const rest = new Map(ours.map(({ name, digest }) => [name, digest]));
  for (const { name, digest } of theirs) {
    if (rest.get(name) !== digest) yield name;
    rest.delete(name);
  }
  yield* rest.keys();
}
