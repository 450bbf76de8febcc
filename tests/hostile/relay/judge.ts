/** Holds what the peers have written down against what was promised: EBM/1, "Guarantee". */
import { join } from "node:path";
import {
  type ConsumedLine,
  consumedBook,
  type Effect,
  readBook,
  type SentLine,
  sentBook,
} from "./books.js";
import { type Planned, subscribersOf } from "./plan.js";

export interface Peer {
  readonly name: string;
  readonly plan: readonly Planned[];
}

export interface Judgement {
  /** Messages whose `send` resolved. */
  readonly sent: number;
  readonly octets: number;
  /** Killed in `send`: they may be there or not. */
  readonly unsure: number;
  /** Each message at each of its receivers. */
  readonly effects: number;
  /** Handed out once more by a later process, since the first was killed before its acknowledgement was durable. */
  readonly handedAgain: number;
  /** The sent message did not come to a receiver. To be empty at the end. */
  readonly lost: readonly string[];
  /** Handed out after its acknowledgement was durable, or twice to one process. */
  readonly doubled: readonly string[];
  readonly disordered: readonly string[];
  /** Other octets, sent by nobody, for somebody else, or given up. */
  readonly wrong: readonly string[];
  /** All plans are carried out. */
  readonly isComplete: boolean;
}

interface Outcome {
  readonly lost: string[];
  readonly doubled: string[];
  readonly disordered: string[];
  readonly wrong: string[];
  handedAgain: number;
}

export function judge(folder: string, peers: readonly Peer[]): Judgement {
  const names = peers.map(({ name }) => name);
  const outcome: Outcome = { lost: [], doubled: [], disordered: [], wrong: [], handedAgain: 0 };
  /** `sender n receiver` of what was done. */
  const done = new Set<string>();
  for (const { name } of peers) {
    const lines = readBook<ConsumedLine>(consumedBook(join(folder, name)));
    readConsumed(name, lines, { peers, names, done, outcome });
  }
  let [sent, octets, unsure] = [0, 0, 0];
  let isComplete = true;
  for (const { name, plan } of peers) {
    const lines = readBook<SentLine>(sentBook(join(folder, name)));
    const tried = new Set(lines.flatMap((line) => (line[0] === "try" ? [line[1]] : [])));
    const ids = new Map(lines.flatMap((line) => (line[0] === "sent" ? [[line[1], line[2]]] : [])));
    for (const line of lines) {
      if (line[0] === "dead") outcome.wrong.push(`${name} gave up ${line[1]}: ${line[2]}`);
    }
    for (const planned of plan) {
      if (!tried.has(planned.n)) isComplete = false;
      else if (!ids.has(planned.n)) unsure += 1;
      else {
        sent += 1;
        octets += planned.octets;
        for (const receiver of receiversOf(planned, name, names)) {
          if (done.has(`${name} ${planned.n} ${receiver}`)) continue;
          const { route, stream } = planned;
          outcome.lost.push(`${name} ${planned.n} ${route.kind} ${stream} at ${receiver}`);
        }
      }
    }
  }
  return { ...outcome, sent, octets, unsure, effects: done.size, isComplete };
}

function receiversOf({ route }: Planned, sender: string, names: readonly string[]): string[] {
  return route.kind === "event" ? subscribersOf(names, sender) : [route.to];
}

interface Reading {
  readonly peers: readonly Peer[];
  readonly names: readonly string[];
  readonly done: Set<string>;
  readonly outcome: Outcome;
}

function readConsumed(receiver: string, lines: readonly ConsumedLine[], reading: Reading): void {
  const { done, outcome } = reading;
  const acked = new Set<string>();
  /** By id and source: the processes that it was handed to. */
  const lives = new Map<string, Set<number>>();
  /** By source, sender and stream: the last that came for the first time. */
  const last = new Map<string, number>();
  for (const line of lines) {
    if (line[0] === "acked") {
      acked.add(line[1]);
      continue;
    }
    const effect = line[1];
    const what = `${effect.from} ${effect.n} at ${receiver} from ${effect.source}`;
    const handed = lives.get(effect.id) ?? new Set<number>();
    lives.set(effect.id, handed);
    if (acked.has(effect.id)) outcome.doubled.push(`${what}, acknowledged before`);
    // A queue's lease may run out while its consumer lives.
    else if (handed.has(effect.life) && effect.source === "inbox") {
      outcome.doubled.push(`${what}, twice to one process`);
    }
    if (line[0] === "again") outcome.handedAgain += 1;
    else if (handed.size > 0) outcome.doubled.push(`${what}, done twice`);
    else onFirst(effect, { receiver, what, last, reading });
    handed.add(effect.life);
    done.add(`${effect.from} ${effect.n} ${receiver}`);
  }
}

function onFirst(
  { from, n, stream, source, isWhole }: Effect,
  context: {
    readonly receiver: string;
    readonly what: string;
    readonly last: Map<string, number>;
    readonly reading: Reading;
  },
): void {
  const { receiver, what, last, reading } = context;
  const { peers, names, outcome, done } = reading;
  const planned = peers.find(({ name }) => name === from)?.plan[n];
  if (!planned) return void outcome.wrong.push(`${what}: nobody sent it`);
  if (!isWhole) outcome.wrong.push(`${what}: other octets`);
  if (stream !== planned.stream || !receiversOf(planned, from, names).includes(receiver)) {
    outcome.wrong.push(`${what}: it was not meant to be there`);
  }
  // Of two tries to send one message, with the same id, both came.
  if (done.has(`${from} ${n} ${receiver}`)) outcome.doubled.push(`${what}, with two ids`);
  // Consumers of a queue that is not exclusive compete: no order among them is promised.
  if (planned.route.kind === "queue") return;
  const key = `${source} ${from} ${stream}`;
  const before = last.get(key) ?? -1;
  if (n < before) outcome.disordered.push(`${what}, stream ${stream}: behind ${before}`);
  last.set(key, Math.max(before, n));
}
