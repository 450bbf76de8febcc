/** What a member without a broker answers. */
import type { Broker } from "../middleware/ports.js";

const refusal = { code: "unknown", why: "this member has no broker" } as const;
const refuse = () => Promise.resolve({ ok: false, ...refusal } as const);

export const noBroker: Broker = {
  operations: {
    declareExchange: refuse,
    removeExchange: refuse,
    declareQueue: refuse,
    removeQueue: refuse,
    queueStatus: refuse,
    bind: refuse,
    unbind: refuse,
    settle: refuse,
    redrive: refuse,
  },
  publish: () => Promise.resolve({ kind: "refused", ...refusal }),
};
