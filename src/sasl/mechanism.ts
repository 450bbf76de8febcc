/**
 * The server's side of SASL mechanisms (RFC 4422): what is said, and when. Who exists and what is
 * right is asked of a `Verifier`; base64, `*` and reply codes are the listener's.
 */
import { isUtf8 } from "node:buffer";
import type { ScramVerifier } from "./scram-keys.js";

/** `R`: what a finished exchange amounts to, for the verifier and its caller to know. */
export type Reply<R> =
  | { readonly kind: "challenge"; readonly data: Buffer }
  | { readonly kind: "done"; readonly result: R }
  /** Not what the mechanism says. Ends the exchange; nothing was checked. */
  | { readonly kind: "malformed" };

export interface Mechanism<R> {
  /** `undefined`: the client gave no initial response. Rejects only when the verifier does. */
  respond(data: Buffer | undefined): Promise<Reply<R>>;
}

export interface Verifier<R> {
  /** The result of what can't be right, whoever says it. */
  readonly denied: R;
  outcome(result: R): "granted" | "denied" | "other";
  password(claim: Claim & { readonly password: string }): Promise<R>;
  token(claim: { readonly authorizationId: string; readonly token: string }): Promise<R>;
  scram(claim: Claim): Promise<ScramAnswer<R>>;
}

export interface Claim {
  /** As whom the client wants to act; "" for itself. */
  readonly authorizationId: string;
  readonly username: string;
}

export type ScramAnswer<R> =
  | {
      readonly kind: "verifier";
      /** A made-up one for names that nobody has. */
      readonly verifier: ScramVerifier;
      /** Settles the exchange; `isProved` is called at most once, and only if a try is allowed. */
      readonly settle: (isProved: () => boolean) => Promise<R>;
    }
  | { readonly kind: "done"; readonly result: R };

/** One step of an exchange: takes the client's line. */
export type Step<R> = (data: Buffer | undefined) => Promise<StepAnswer<R>> | StepAnswer<R>;

/** A reply, and what takes the next line. */
export type StepAnswer<R> = Reply<R> & { readonly next?: Step<R> };

export const malformed = { kind: "malformed" } as const;
export const done = <R>(result: R) => ({ kind: "done", result }) as const;
export const challenge = <R>(text: string, next: Step<R>) =>
  ({ kind: "challenge", data: Buffer.from(text), next }) as const;

const responseOctetsMax = 12_288;
/** RFC 4616 §2 wants 255 octets at the least. A longer password than an account's can't be right. */
export const nameOctetsMax = 512;
export const passwordOctetsMax = 1_024;

/** Runs steps one after the other; what comes behind the last one, or beside a step, is malformed. */
export function mechanism<R>(first: Step<R>): Mechanism<R> {
  let next: Step<R> | undefined = first;
  return {
    async respond(data) {
      const step = next;
      next = undefined;
      if (!step || (data && data.length > responseOctetsMax)) return malformed;
      const { next: following, ...reply } = await step(data);
      next = following;
      return reply;
    },
  };
}

/** Text of 1 to `octetsMax` octets, in UTF-8, without NUL. */
export function textOf(data: Buffer, octetsMax: number): string | undefined {
  if (data.length === 0 || data.length > octetsMax || !isUtf8(data)) return undefined;
  return data.includes(0) ? undefined : data.toString("utf8");
}
