import { AdminError } from "../shared/admin.js";

/** Arguments come over the wire. @throws AdminError */
export function text(value: unknown): string {
  if (typeof value === "string") return value;
  throw new AdminError("invalid", "an argument is not a text");
}
