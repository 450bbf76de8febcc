/**
 * The channel between `chord up` and its members. A member tells when it is ready or why it can't
 * be; it stops when asked, and when the channel breaks because `up` is gone, however it went.
 */
import { oneLine } from "./errors.js";

/** Set by `up` for its members; an IPC channel of another parent means nothing to us. */
export const supervisedVariable = "RINGPOST_SUPERVISED";

export interface MemberInfo {
  readonly id: string;
  readonly addr: string;
  readonly smtp: string;
  readonly pop3: string;
  readonly submission?: string;
  readonly pop3s?: string;
}

export type MemberReport =
  | { readonly kind: "ready"; readonly info: MemberInfo }
  | { readonly kind: "failed"; readonly line: string }
  /** Taken out of the ring by agreement: not to be started again. */
  | { readonly kind: "left" };

export interface ParentLink {
  report(report: MemberReport): void;
  /** Calls `stop` once when the parent asks for it or is gone. */
  onStop(stop: () => void): void;
}

const nobody: ParentLink = { report: () => undefined, onStop: () => undefined };

/** The link to the `up` that started this process; to nobody when it was started otherwise. */
export function parentLink(): ParentLink {
  if (process.env[supervisedVariable] !== "1" || process.send === undefined) return nobody;
  return {
    report(report) {
      if (process.connected) process.send?.(report, undefined, {}, () => undefined);
    },
    onStop(stop) {
      process.once("disconnect", stop);
      if (!process.connected) stop();
    },
  };
}

/** What came over the channel, if it is a report. */
export function readReport(message: unknown): MemberReport | undefined {
  if (typeof message !== "object" || message === null || !("kind" in message)) return undefined;
  const report = message as MemberReport;
  switch (report.kind) {
    case "ready":
    case "left":
      return report;
    case "failed":
      return { kind: "failed", line: oneLine(report.line) };
    default:
      return undefined;
  }
}
