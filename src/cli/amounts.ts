/** Numbers as people read them. */
import type { Copying } from "../shared/admin.js";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const whole = (count: number): string => grouped.format(count);

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/** Never "100 %" before all are, and never "0 %" while some are. */
export function percent(part: number, all: number): string {
  if (part === all) return "100 %";
  const share = (part / all) * 100;
  if (share > 0 && share < 1) return "under 1 %";
  return `${Math.min(99, Math.round(share))} %`;
}

const units = ["octets", "KiB", "MiB", "GiB", "TiB"];

export function size(octets: number): string {
  let [value, unit] = [octets, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ""}`;
}

function about(seconds: number): string {
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5_400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${Math.round(seconds / 3_600)} h`;
}

/** `12,345 mailboxes to copy, 80/s, about 2 min`; undefined when nothing is left. */
export function remaining(copying: Copying): string | undefined {
  const left = copying.mailboxesTotal - copying.mailboxes;
  if (left <= 0) return undefined;
  const parts = [`${counted(left, "mailbox", "mailboxes")} to copy`];
  const perSecond = copying.mailboxes / copying.seconds;
  if (perSecond >= 1) parts.push(`${whole(perSecond)}/s`);
  const octetsPerSecond = copying.octets / copying.seconds;
  if (octetsPerSecond > 0 && copying.octetsTotal > copying.octets) {
    parts.push(about((copying.octetsTotal - copying.octets) / octetsPerSecond));
  }
  return parts.join(", ");
}

/** `12 of 40 mailboxes, 1,200 of 4,000 mails, 4.7 of 16 MiB copied`. */
export function progress(copying: Copying): string {
  const { mailboxes, mailboxesTotal, messages, messagesTotal, octets, octetsTotal } = copying;
  const rate = copying.seconds > 0 ? messages / copying.seconds : 0;
  const text =
    `${whole(mailboxes)} of ${whole(mailboxesTotal)} mailboxes, ` +
    `${whole(messages)} of ${whole(messagesTotal)} mails, ` +
    `${size(octets)} of ${size(octetsTotal)} copied`;
  return rate >= 1 ? `${text}, ${whole(rate)} mails/s` : text;
}
