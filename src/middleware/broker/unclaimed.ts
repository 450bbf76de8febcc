/**
 * An exchange that queues wait for: bound early, published to by nobody, made by whoever declares it first.
 * It ends with its last binding.
 */
import type { MailboxName } from "../../shared/ids.js";
import { isSameBinding } from "./declared.js";
import type { BoundQueue, Definitions, ExchangeFields, QueueFields } from "./definitions.js";
import { inParallel } from "./durable.js";
import { isPermitted } from "./permissions.js";

export const unclaimed: ExchangeFields = {
  owner: "" as MailboxName,
  ...{ type: "topic", publishers: "owner", subscribers: "everyone", bindings: [] },
};

export const isUnclaimed = ({ owner }: ExchangeFields): boolean => owner === unclaimed.owner;

const lookedUpAtATime = 16;

/**
 * Of those that wait for it, the bindings of queues whose owners may subscribe to what is made of it. The others end;
 * whoever asks for one again is told `forbidden`.
 */
export async function heirsOf(
  bindings: readonly BoundQueue[],
  { owner, subscribers }: ExchangeFields,
  queues: Pick<Definitions<QueueFields>, "recall">,
): Promise<readonly BoundQueue[] | "undecided"> {
  if (subscribers === "everyone") return bindings;
  const answers = await inParallel(bindings, lookedUpAtATime, async ({ queue, incarnation }) => {
    const found = await queues.recall(queue);
    if (found.kind !== "found") return found.kind;
    const { value } = found;
    const isHeir = value.incarnation === incarnation;
    return isHeir && isPermitted(value.owner, owner, subscribers) ? "heir" : "other";
  });
  if (answers.includes("undecided")) return "undecided";
  return bindings.filter((_, index) => answers[index] === "heir");
}

/** What was bound after the heirs were looked for stays only where everyone may. */
export function claimed(
  { bindings }: ExchangeFields,
  fields: ExchangeFields,
  heirs: readonly BoundQueue[],
): ExchangeFields {
  const isHeir = (one: BoundQueue): boolean => heirs.some((heir) => isSameBinding(heir, one));
  const isOpen = fields.subscribers === "everyone";
  return { ...fields, bindings: isOpen ? bindings : bindings.filter(isHeir) };
}

export const withBindings = (
  before: ExchangeFields,
  bindings: ExchangeFields["bindings"],
): ExchangeFields | "nothing" =>
  isUnclaimed(before) && bindings.length === 0 ? "nothing" : { ...before, bindings };
