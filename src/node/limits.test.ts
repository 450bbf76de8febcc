import { describe, expect, test } from "vitest";
import { listenerLimits, pop3LimitSpecs, smtpLimitSpecs } from "../config/limits.js";
import { defaultLimits } from "../pop3/options.js";
import { smtpLimits } from "../smtp/limits.js";

/** How the listeners work inside: nobody has to set these. */
const internal = new Set([
  // A body beyond this goes through a file; the ring's own frames depend on it.
  "smtp.inlineBodyOctetsMax",
  "smtp.ringBodyOctetsMax",
  "smtp.resetWaitMs",
  // RFC 5321 §6.3 says how many; more make a loop longer.
  "smtp.hopsMax",
  "smtp.sweepIntervalMs",
  "smtp.resetWaitMs",
  "smtp.closeMs",
  "pop3.releaseDeadlineMs",
  "pop3.lingerMs",
]);
/** Set by an option of its own. */
const options = new Set(["smtp.messageOctetsMax"]);

const rooms = [
  { room: "smtp", specs: smtpLimitSpecs, defaults: { ...smtpLimits } },
  { room: "pop3", specs: pop3LimitSpecs, defaults: { ...defaultLimits } },
] as const;

describe.each(rooms)("$room", ({ room, specs, defaults }) => {
  const rows = Object.entries(specs);

  test("every limit of the listener is in the table, once, or known to be internal", () => {
    const inTable = rows.map(([, { field }]) => `${room}.${field}`);
    const known = [...internal, ...options].filter((name) => name.startsWith(`${room}.`));
    const fields = Object.keys(defaults).map((field) => `${room}.${field}`);
    expect([...inTable, ...known].sort()).toEqual(fields.sort());
  });

  test.each(rows)("%s has the default that the listener has", (name, spec) => {
    expect(name.startsWith(`${room}-`)).toBe(true);
    const field = spec.field as keyof typeof defaults;
    expect(listenerLimits({})[room]).toMatchObject({ [field]: defaults[field] });
    const inMs = spec.field.endsWith("Ms");
    expect(/^(milli)?seconds$/.test(spec.unit)).toBe(inMs);
    expect(spec.default).toBeGreaterThanOrEqual(spec.min);
    expect(spec.default).toBeLessThanOrEqual(spec.max);
  });
});
