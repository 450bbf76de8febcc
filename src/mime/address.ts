/**
 * Mail addresses: RFC 5321 §4.1.2 `Mailbox`, with the UTF-8 of RFC 6531. Pure.
 *
 * One person has one mailbox, however a sender spells it: canonical names are NFC, lower case,
 * without the subaddress (`user+tag`, RFC 5233), the domain in lower-case A-labels (RFC 5890).
 */
import { domainToASCII } from "node:url";
import type { MailboxName } from "../shared/ids.js";

/** RFC 5321 §4.5.3.1.1. */
const localOctetsMax = 64;
/** RFC 5321 §4.5.3.1.2; what DNS can carry is less (RFC 1035 §2.3.4, in text form). */
const domainOctetsMax = 253;
/** RFC 5321 §4.5.3.1.3: 256 for a path, angle brackets included. */
const addressOctetsMax = 254;

export type ParsedAddress =
  | {
      readonly kind: "address";
      /** Without the quotes and backslashes of a quoted string. */
      readonly local: string;
      /** As given; "" when there is none. */
      readonly domain: string;
      /** The local part can only be written as a quoted string. */
      readonly quoted: boolean;
    }
  | { readonly kind: "invalid"; readonly why: string };

type Invalid = Extract<ParsedAddress, { kind: "invalid" }>;

// C0, C1 and DEL, lone surrogates, U+2028 and U+2029: nothing that ends a line anywhere.
const unsafe = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
// RFC 5321 §4.1.2 Dot-string of RFC 5322 §3.2.3 atext, plus UTF8-non-ascii (RFC 6531 §3.3).
const dotString =
  /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\u{10ffff}]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\u{10ffff}]+)*$/u;
const domainCharacters = /^[A-Za-z0-9.\-\u0080-\u{10ffff}]+$/u;
const asciiLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// RFC 5321 §4.1.3. What is inside decides nothing here: no literal is a domain of ours.
const addressLiteral = /^\[(?:IPv6:[0-9A-Fa-f:.]{2,45}|\d{1,3}(?:\.\d{1,3}){3})\]$/i;

/** Splits and checks an address without angle brackets. Never throws. */
export function parseAddress(text: string): ParsedAddress {
  if (octets(text) > addressOctetsMax) return invalid(`longer than ${addressOctetsMax} octets`);
  if (unsafe.test(text)) return invalid("contains a control character");
  const split = text.startsWith('"') ? splitQuoted(text) : splitPlain(text);
  if (split.kind === "invalid") return split;
  if (octets(split.local) > localOctetsMax) {
    return invalid(`local part is longer than ${localOctetsMax} octets`);
  }
  if (split.domain === "" || addressLiteral.test(split.domain)) return split;
  return canonicalDomain(split.domain) === undefined ? invalid("domain is malformed") : split;
}

function splitPlain(text: string): ParsedAddress {
  const at = text.indexOf("@");
  const local = at < 0 ? text : text.slice(0, at);
  if (local === "") return invalid("local part is empty");
  if (!dotString.test(local)) return invalid("local part is malformed");
  const domain = at < 0 ? "" : text.slice(at + 1);
  if (at >= 0 && domain === "") return invalid("domain is empty");
  return { kind: "address", local, domain, quoted: false };
}

/** RFC 5321 §4.1.2: a quoted string is the same name as its unquoted form, where it has one. */
function splitQuoted(text: string): ParsedAddress {
  const match = /^"((?:[^"\\]|\\[\x20-\x7e])*)"(?:@(.*))?$/u.exec(text);
  if (match === null) return invalid("quoted local part is malformed");
  const [, content = "", domain] = match;
  const local = content.replace(/\\(.)/gu, "$1");
  if (local === "") return invalid("local part is empty");
  if (domain === "") return invalid("domain is empty");
  return { kind: "address", local, domain: domain ?? "", quoted: !dotString.test(local) };
}

/** A domain as lower-case A-labels; undefined when it is none. Idempotent. */
export function canonicalDomain(domain: string): string | undefined {
  if (!domainCharacters.test(domain)) return undefined;
  const lower = domain.toLowerCase();
  // UTS 46 only where it can matter: it also reads `0x7f.1` as an IPv4 address.

  const special = /[^\x00-\x7f]|(?:^|\.)xn--/.test(lower);
  const ascii = special ? domainToASCII(lower) : lower;
  if (ascii.length > domainOctetsMax) return undefined;
  return ascii.split(".").every((label) => asciiLabel.test(label)) ? ascii : undefined;
}

export type MailboxOfAddress =
  | { readonly kind: "mailbox"; readonly mailbox: MailboxName }
  /** A domain that is not served here. */
  | { readonly kind: "relay" }
  /** `why` is one line without the address. */
  | { readonly kind: "invalid"; readonly why: string };

export type DomainOfAddress =
  /** Canonical; undefined when it is none that anybody could serve, such as an address literal. */
  | { readonly kind: "domain"; readonly domain: string | undefined }
  | { readonly kind: "invalid"; readonly why: string };

/** The domain that an address is in, so that it can be asked whether it is served. Never throws. */
export function addressDomain(address: string, defaultDomain: string): DomainOfAddress {
  const parsed = parseAddress(address);
  if (parsed.kind === "invalid") return parsed;
  const given = parsed.domain === "" ? bareDomain(parsed.local, defaultDomain) : parsed.domain;
  if (given === undefined) return invalid("domain is missing");
  return { kind: "domain", domain: canonicalDomain(given) };
}

/**
 * The mailbox that an address means. Never throws; idempotent on what it returns.
 * @param servedDomains in any spelling
 * @param defaultDomain where the bare `postmaster` of RFC 5321 §4.1.1.3 lives
 */
export function canonicalMailbox(
  address: string,
  servedDomains: readonly string[],
  defaultDomain?: string,
): MailboxOfAddress {
  const parsed = parseAddress(address);
  if (parsed.kind === "invalid") return parsed;
  const given = parsed.domain === "" ? bareDomain(parsed.local, defaultDomain) : parsed.domain;
  if (given === undefined) return invalid("domain is missing");
  const domain = canonicalDomain(given);
  if (domain === undefined || !isServed(domain, servedDomains)) return { kind: "relay" };
  if (parsed.quoted) return invalid("local part needs quotes, which no mailbox here has");
  const local = canonicalLocal(parsed.local);
  // NFC turns a few characters into ASCII ones that have a meaning: U+037E is a semicolon.
  if (!dotString.test(local)) return invalid("local part is malformed");
  return named(withoutTag(local), domain);
}

function bareDomain(local: string, defaultDomain: string | undefined): string | undefined {
  return local.toLowerCase() === "postmaster" ? defaultDomain : undefined;
}

function isServed(domain: string, servedDomains: readonly string[]): boolean {
  // Mostly written as it is compared, so the costly spelling is only tried when that fails.
  if (servedDomains.includes(domain)) return true;
  return servedDomains.some((served) => canonicalDomain(served) === domain);
}

function named(local: string, domain: string): MailboxOfAddress {
  // Lower case can need more octets than upper case (U+0130), so the limits are asked again.
  if (octets(local) > localOctetsMax) {
    return invalid(`local part is longer than ${localOctetsMax} octets`);
  }
  const name = `${local}@${domain}`;
  if (octets(name) > addressOctetsMax) return invalid(`longer than ${addressOctetsMax} octets`);
  return { kind: "mailbox", mailbox: name as MailboxName };
}

function canonicalLocal(local: string): string {
  return local.normalize("NFC").toLowerCase().normalize("NFC");
}

/** RFC 5233: what follows the first `+` is detail. A name that is nothing else stays. */
function withoutTag(local: string): string {
  const plus = local.indexOf("+");
  const user = plus > 0 ? local.slice(0, plus) : local;
  // A cut such as `user.+tag` leaves what is no dot-string: then it is one name as a whole.
  return dotString.test(user) ? user : local;
}

/**
 * RFC 5233's detail, in the spelling that is compared: `data` of `alice+Data@ring.test`. Undefined
 * where `canonicalMailbox` cuts nothing off.
 */
export function subaddressOf(address: string): string | undefined {
  const parsed = parseAddress(address);
  if (parsed.kind === "invalid" || parsed.quoted) return undefined;
  const local = canonicalLocal(parsed.local);
  const user = withoutTag(local);
  return user === local ? undefined : local.slice(user.length + 1);
}

/**
 * The mailbox of a login name, `alice` or `alice@ring.test`; undefined when no account can have
 * that name. A subaddress is not stripped: it is a way to be written to, not a way to log in.
 */
export function parseLogin(name: string, defaultDomain: string): MailboxName | undefined {
  const at = name.lastIndexOf("@");
  const local = validateAccountName(at < 0 ? name : name.slice(0, at));
  const domain = canonicalDomain(at < 0 ? defaultDomain : name.slice(at + 1));
  if (local.kind === "invalid" || domain === undefined) return undefined;
  const mailbox = named(local.local, domain);
  return mailbox.kind === "mailbox" ? mailbox.mailbox : undefined;
}

export type AccountName =
  | { readonly kind: "ok" /** Canonical. */; readonly local: string }
  | { readonly kind: "invalid"; readonly why: string };

/**
 * Whether a new account may have this local part: letters and digits of any script and `._-`.
 * Narrower than what RFC 5321 allows, since a name is for ever and is typed, shown and compared.
 */
export function validateAccountName(name: string): AccountName {
  if (name === "") return invalid("a name is needed");
  const local = canonicalLocal(name);
  if (octets(name) > localOctetsMax || octets(local) > localOctetsMax) {
    return invalid(`a name has at most ${localOctetsMax} octets`);
  }
  if (name.includes("+")) return invalid("`+` separates a tag from a name and can't be part of it");
  if (/\p{Default_Ignorable_Code_Point}/u.test(name)) {
    return invalid("a name can't contain invisible characters");
  }
  if (!/^[\p{L}\p{M}\p{Nd}._-]+$/u.test(name)) {
    return invalid("a name consists of letters, digits, `.`, `_` and `-`");
  }
  // Full-width letters, ligatures and the like look like the plain ones.
  if (local.normalize("NFKC") !== local) return invalid("use the plain form of each letter");
  if (!/^[\p{L}\p{Nd}]/u.test(local)) return invalid("a name begins with a letter or a digit");
  if (local.endsWith(".") || local.includes("..")) {
    return invalid("a dot can't end a name or follow another dot");
  }
  return { kind: "ok", local };
}

function octets(text: string): number {
  return Buffer.byteLength(text);
}

function invalid(why: string): Invalid {
  return { kind: "invalid", why };
}
