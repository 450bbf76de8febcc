/** What this member answers to the others. */
import { DurableAcceptor } from "./durable-acceptor.js";
import { Fence } from "./fence.js";
import { Granting, type GrantingOptions } from "./granting.js";
import type { Heartbeat } from "./heartbeat.js";
import { Intake, type IntakeOptions } from "./intake.js";
import type { Mending } from "./mending.js";
import type { JoinReply, PeerHandlers, QueueCall, QueueReply, RequestOf } from "./peer-methods.js";
import { rosterToJson } from "./roster.js";
import type { SharedNames } from "./shared-names.js";
import { Source, type SourceOptions } from "./source.js";
import type { Survey } from "./survey.js";
import type { Transfer } from "./transfer.js";
import type { TryTable } from "./try-table.js";

export interface ServiceOptions extends IntakeOptions, GrantingOptions, SourceOptions {
  readonly tries: TryTable;
  readonly transfer: Transfer;
  readonly heartbeat: Heartbeat;
  readonly names: SharedNames;
  readonly survey: Survey;
  readonly mending: Mending;
  readonly holdsSession: (session: string) => boolean;
  readonly onJoin: (request: RequestOf<"join">) => Promise<JoinReply>;
  readonly status: () => unknown;
  readonly onRegisterChanged: (register: string) => void;
  readonly onQueueCall: (call: QueueCall) => Promise<QueueReply>;
}

export function createHandlers(options: ServiceOptions): PeerHandlers {
  const { heartbeat, membership, repair, transfer, names, locks } = options;
  const fence = new Fence(options);
  const intake = new Intake(fence, options);
  const registers = new DurableAcceptor(fence, options.store);
  const granting = new Granting(fence, options);
  const source = new Source(options);
  return {
    replicate: (from, request) => intake.replicate(from, request),
    bodyChunk: (from, { transfer: name, offset, blobs }) =>
      options.bodies.receiveChunk(from, name, offset, blobs?.[0] ?? Buffer.alloc(0)),
    readBody: async (_, { digest, offset, length }) => {
      const bytes = await options.bodies.serve(digest, offset, length);
      return bytes ? { kind: "bytes", blobs: [bytes] } : { kind: "missing" };
    },
    bodies: (_, { digests }) => options.bodies.serveSome(digests),
    settled: async (_, { confirmed, doubtful }) => {
      await options.doubts.settled(confirmed, doubtful);
      return { kind: "ok" };
    },
    prepare: (from, request) => registers.prepare(from, request),
    accept: (from, request) => registers.accept(from, request),
    readRegister: (from, request) => registers.read(from, request),
    acquire: (from, request) => granting.acquire(from, request),
    checkLock: (from, { epoch, mailbox, session }) =>
      fence.answer(from, epoch, () => ({
        kind: locks.holds(mailbox, session) ? "held" : "lost",
      })),
    release: (_, { mailbox, session }) => {
      locks.release(mailbox, session);
      return { kind: "ok" };
    },
    holds: (_, { session }) => ({ holds: options.holdsSession(session) }),
    noteTry: (from, { epoch, key, id, windowMs, max }) =>
      fence.answer(from, epoch, () => ({
        kind: "tries",
        tries: options.tries.note(key, id, { windowMs, max }),
      })),
    releaseTry: (from, { epoch, key, id }) =>
      fence.answer(from, epoch, () => {
        options.tries.release(key, id);
        return { kind: "ok" };
      }),
    summary: (from, { epoch, mailbox }) =>
      fence.answer(from, epoch, async () => {
        return { kind: "summary", summary: await options.store.summary(mailbox) };
      }),
    listing: (_, request) => source.listing(request),
    sound: (from, { epoch, mailbox, nonce }) =>
      fence.answer(from, epoch, () => options.floors.sound(mailbox, nonce)),
    fetch: (_, request) => source.fetch(request),
    beat: (from, beat) => {
      options.retries.coordinatorHeard(from.uuid);
      return heartbeat.answer(from, beat);
    },
    roster: () => ({ roster: rosterToJson(membership.roster) }),
    newRoster: async (_, { roster }) => {
      await membership.learn(roster);
      return { kind: "ok" };
    },
    join: (_, request) => options.onJoin(request),
    silence: (_, { of }) => ({ silentMs: heartbeat.silentMs(of) }),
    progress: (from, { epoch }) =>
      fence.answer(from, epoch, () => {
        const progress = transfer.progress();
        const done = progress.done && !keepsHintsAndLeaves(options);
        return { kind: "progress", ...progress, done };
      }),
    gains: (from, { epoch, after }) =>
      fence.answer(from, epoch, () => names.gainsOf(from.uuid, after)),
    compare: (from, { epoch, buckets, firstBucket }) =>
      fence.answer(from, epoch, () => repair.compare(fence.memberOf(from), buckets, firstBucket)),
    offer: (from, { epoch, mailbox, digest }) =>
      fence.answer(from, epoch, async () => {
        const complete = await repair.takeOffer(mailbox, digest, fence.memberOf(from));
        return { kind: complete ? "complete" : "incomplete" };
      }),
    lines: (from, { epoch, buckets, from: first }) =>
      fence.answer(from, epoch, () => options.survey.lines(fence.memberOf(from), buckets, first)),
    survey: (from, { epoch }) => fence.answer(from, epoch, () => options.survey.take()),
    mend: (from, request) => fence.answer(from, request.epoch, () => options.mending.mend(request)),
    recall: (_, { id }) => options.mending.recall(id),
    status: () => ({ status: options.status() }),
    registerChanged: (_, { register }) => {
      options.onRegisterChanged(register);
      return { kind: "ok" };
    },
    queueCall: (_, call) => options.onQueueCall(call),
    accounts: (_, { after }) => names.registersAfter(after),
  };
}

/** A member that leaves takes nothing with it that others rely on. */
function keepsHintsAndLeaves({
  membership,
  names,
}: Pick<ServiceOptions, "membership" | "names">): boolean {
  return membership.selfMember?.state === "leaving" && names.keepsForeign();
}
