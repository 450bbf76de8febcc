import { AdminError } from "../shared/admin.js";

/** Arguments come over the wire. @throws AdminError */
export function text(value: unknown): string {
  if (typeof value === "string") return value;
  throw new AdminError("invalid", "an argument is not a text");
}

/** @throws AdminError */
export function texts(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(text);
  throw new AdminError("invalid", "an argument is not a list");
}
