/**
 * Did the client read the 250? RFC 5321 §6.1 leaves a gap between the server's promise and the
 * client's knowledge of it; a client that fell into it sends the mail again. What a connection
 * says about that is handed to the receiver, once per mail. Pure.
 */
import type { MailReceiver } from "../mailbox/ports.js";
import type { MessageId } from "../shared/ids.js";

export class Settlement {
  readonly #settled: MailReceiver["settled"];
  /** Replies that were written; `readOctets` had come from the client by then. */
  #open: { readonly ids: readonly MessageId[]; readonly readOctets: number }[] = [];

  constructor(settled: MailReceiver["settled"]) {
    this.#settled = settled;
  }

  /** True when the client of a mail has not shown yet whether it has read its 250. */
  get isWaiting(): boolean {
    return this.#open.length > 0;
  }

  /** A 250 was written to a connection that was well. */
  replied(ids: readonly MessageId[], readOctets: number): void {
    this.#open.push({ ids, readOctets });
  }

  /** A 250 could not be written, or to a client that had left. */
  lost(ids: readonly MessageId[]): void {
    this.#settled(ids, "doubtful");
  }

  /**
   * A command came whose last octet was the `endOctets`-th. One that was pipelined behind the
   * data, before the reply was written, proves nothing.
   */
  command(endOctets: number): void {
    const [oldest] = this.#open;
    if (oldest === undefined || oldest.readOctets >= endOctets) return;
    const read = this.#open.filter(({ readOctets }) => readOctets < endOctets);
    this.#open = this.#open.filter(({ readOctets }) => readOctets >= endOctets);
    for (const { ids } of read) this.#settled(ids, "confirmed");
  }

  /**
   * The connection is gone. `orderly`: the client ended its side without an error after all had
   * been written, and more could be written to it a moment later. Popular clients do that instead of saying QUIT, so it counts as having read;
   * a connection that is lost is reset, or ends at a deadline.
   */
  closed(orderly: boolean): void {
    const open = this.#open;
    this.#open = [];
    for (const { ids } of open) this.#settled(ids, orderly ? "confirmed" : "doubtful");
  }
}
