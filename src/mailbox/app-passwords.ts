/** App passwords: random ones, each for one program, that are revoked one by one. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Clock, Randomness } from "../replication/ports.js";
import type { AppPassword } from "./account.js";
import { type AccountChange, type Accounts, nextGeneration } from "./accounts.js";

/** Without what is easily misread (0 o, 1 l); 5 bits a character (as RFC 4648 §6 has it). */
const alphabet = "abcdefghijkmnpqrstuvwxyz23456789";
const octets = 16;
const characters = Math.ceil((octets * 8) / 5);
const shape = new RegExp(`^[${alphabet}]{${characters}}$`);
const labelCharactersMax = 64;
export const appPasswordsMax = 32;

export type AppPasswordAnswer =
  | { readonly kind: "added"; readonly id: string; readonly password: string }
  | { readonly kind: "full" }
  | { readonly kind: "refused"; readonly change: AccountChange };

interface AppPasswordsOptions {
  readonly accounts: Pick<Accounts, "update">;
  readonly random: Randomness;
  readonly clock: Clock;
}

export class AppPasswords {
  constructor(private readonly options: AppPasswordsOptions) {}

  /** The password is shown this once. */
  async add(name: string, label: string): Promise<AppPasswordAnswer> {
    const why = refuseLabel(label);
    if (why) return { kind: "refused", change: { kind: "invalid", why } };
    const { random, clock } = this.options;
    const password = textOf(random.bytes(octets));
    const id = random.bytes(4).toString("hex");
    const made = { id, label, hash: hashOf(password), createdAtMs: clock.wallMs() };
    let isFull = false;
    const change = await this.options.accounts.update(name, (account) => {
      const present = account.appPasswords ?? [];
      isFull = present.length >= appPasswordsMax;
      return isFull ? account : { ...account, appPasswords: [...present, made] };
    });
    if (change.kind !== "done") return { kind: "refused", change };
    return isFull ? { kind: "full" } : { kind: "added", id, password: shown(password) };
  }

  /**
   * Revokes one. Tokens of the account end with it: one may have been got by this password.
   * `found`: there was one with that id.
   */
  async revoke(name: string, id: string): Promise<{ change: AccountChange; found: boolean }> {
    let found = false;
    const change = await this.options.accounts.update(name, (account) => {
      const present = account.appPasswords ?? [];
      const rest = present.filter((one) => one.id !== id);
      found = rest.length < present.length;
      if (!found) return account;
      return { ...nextGeneration(account), appPasswords: rest };
    });
    return { change, found };
  }
}

/** Whether `text` is one of them, as it was shown or typed without dashes, with spaces, in capitals. */
export function isAppPassword(text: string, present: readonly AppPassword[] = []): boolean {
  const password = text.length > 64 ? "" : text.toLowerCase().replace(/[- ]/g, "");
  if (!shape.test(password)) return false;
  const hash = Buffer.from(hashOf(password), "base64");
  return present.some((one) => {
    const known = Buffer.from(one.hash, "base64");
    return known.length === hash.length && timingSafeEqual(known, hash);
  });
}

const hashOf = (password: string): string => createHash("sha256").update(password).digest("base64");

function textOf(bytes: Buffer): string {
  let value = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  for (let n = 0; n < characters; n += 1, value >>= 5n) text += alphabet[Number(value & 31n)];
  return text;
}

const shown = (password: string): string => (password.match(/.{1,4}/g) ?? []).join("-");

function refuseLabel(label: string): string | undefined {
  if (label.trim() === "") return "the label is empty";
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(label)) return "the label has a control character";
  return [...label].length > labelCharactersMax
    ? `the label is longer than ${labelCharactersMax} characters`
    : undefined;
}
