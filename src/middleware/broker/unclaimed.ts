/**
 * An exchange that queues wait for: bound early, published to by nobody, made by whoever declares it first.
 * It ends with its last binding.
 */
import type { MailboxName } from "../../shared/ids.js";
import type { ExchangeFields } from "./definitions.js";

export const unclaimed: ExchangeFields = {
  owner: "" as MailboxName,
  ...{ type: "topic", publishers: "owner", subscribers: "everyone", bindings: [] },
};

export const isUnclaimed = ({ owner }: ExchangeFields): boolean => owner === unclaimed.owner;

/** Whoever waits for it may be bound only where everyone may. */
export const claimed = ({ bindings }: ExchangeFields, fields: ExchangeFields): ExchangeFields =>
  fields.subscribers === "everyone" ? { ...fields, bindings } : fields;

export const withBindings = (
  before: ExchangeFields,
  bindings: ExchangeFields["bindings"],
): ExchangeFields | "nothing" =>
  isUnclaimed(before) && bindings.length === 0 ? "nothing" : { ...before, bindings };
