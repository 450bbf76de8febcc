/**
 * The user's own record in the ring's directory: where this program is written to, and with which keys the
 * user's programs sign. Each program puts itself into it, and must not hide the others.
 */
import { type DirectoryRecord, publicKeyText, signRecord } from "../../ebm/index.js";
import { RingpostError } from "../errors.js";
import type { Journal } from "../journal/journal.js";
import { delay } from "../waiting.js";
import type { Directory } from "./directory.js";

export interface OwnRecordOptions {
  readonly user: string;
  readonly address: string;
  readonly pollMs: number;
  readonly journal: Journal;
  readonly directory: Directory;
  readonly announce: (record: DirectoryRecord) => Promise<unknown>;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

/** Of a record; every login and refresh makes a new one when half of it is over. */
const recordLifeMs = 30 * 86_400_000;
/** How often the record is looked at; below what peers wait for a device to be named. */
const recordWatchMs = 300_000;
/** Tries to put a record in place, where other programs of the user do the same. */
const overtakingMax = 10;
const overtakingMs = 50;
const devicesMax = 16;

export class OwnRecord {
  readonly #options: OwnRecordOptions;
  #watching: NodeJS.Timeout | undefined;
  /** By the ring, at the last login or refresh. */
  #believed: DirectoryRecord["devices"] = [];
  /** Of the last record that was made or seen. */
  #version = 0;

  constructor(options: OwnRecordOptions) {
    this.#options = options;
  }

  make(others: DirectoryRecord["devices"] = []): DirectoryRecord {
    const { user, address, pollMs, nowMs, journal } = this.#options;
    const { device, privateKey } = journal.identity;
    const own = { device, key: publicKeyText(privateKey) };
    const devices = [own, ...others.filter((one) => one.device !== device)].slice(0, devicesMax);
    const version = Math.max(nowMs(), this.#version + 1);
    this.#version = version;
    const expiresAtMs = version + recordLifeMs;
    return signRecord(
      { user, version, addresses: [address], devices, expiresAtMs, pollMs, signedBy: device },
      privateKey,
    );
  }

  believed(devices: DirectoryRecord["devices"]): void {
    this.#believed = devices;
  }

  /** Other programs of the user may put theirs at the same time, or have a clock that is ahead. */
  async put(put: (record: DirectoryRecord) => Promise<void>): Promise<void> {
    let aheadMs = 1;
    await this.#overtaking(async () => {
      this.#version += aheadMs;
      aheadMs *= 4;
      await put(this.make());
    });
  }

  /** Peers believe what the record names: a second program of the user must not hide the first. */
  nameAllDevices(): Promise<void> {
    return this.#overtaking(() => this.#nameDevices());
  }

  /** Another program of the user that logs in puts a record in place that may not name this one. */
  watch(): void {
    if (this.#watching !== undefined) return;
    this.#watching = setInterval(() => {
      this.nameAllDevices().catch(() => undefined);
    }, recordWatchMs);
    this.#watching.unref();
  }

  close(): void {
    clearInterval(this.#watching);
  }

  /** A record that was in place before ours: ours is made anew, with a later version. */
  async #overtaking(put: () => Promise<void>): Promise<void> {
    const { signal } = this.#options;
    for (let tries = 1; ; tries += 1) {
      try {
        return await put();
      } catch (error) {
        const isLate = error instanceof RingpostError && error.code === "exists";
        if (!isLate || tries >= overtakingMax || signal.aborted) throw error;
      }
      // Those that met once don't meet again.
      await delay(Math.random() * overtakingMs * tries, signal);
    }
  }

  async #nameDevices(): Promise<void> {
    const { user, journal, directory, announce, nowMs } = this.#options;
    const current = await directory.ask(user);
    const loggedOut = new Set(current.loggedOut);
    const isIn = ({ device }: { readonly device: string }): boolean => !loggedOut.has(device);
    const devices = current.devices.filter(isIn);
    const named = new Set(devices.map(({ device }) => device));
    const missing = this.#believed.filter((one) => isIn(one) && !named.has(one.device));
    const isFresh = current.expiresAtMs - nowMs() > recordLifeMs / 2;
    this.#version = Math.max(this.#version, current.version);
    const isWhole = missing.length === 0 && loggedOut.size === 0;
    if (named.has(journal.identity.device) && isFresh && isWhole) return;
    await announce(this.make([...devices, ...missing]));
  }
}
