/** Tokens: OAUTHBEARER (RFC 7628) and what Google had before it, XOAUTH2. */
import { parseGs2 } from "./gs2.js";
import {
  challenge,
  done,
  malformed,
  type Mechanism,
  mechanism,
  nameOctetsMax,
  type Step,
  textOf,
  type Verifier,
} from "./mechanism.js";

const messageOctetsMax = 12_288;
/** RFC 6750 §2.1, `b64token`. */
const bearer = /^Bearer +([A-Za-z0-9._~+/-]{1,4096}=*)$/i;

interface TokenClaim {
  readonly authorizationId: string;
  /** Absent: none was given, or not one that this server knows the kind of. */
  readonly token: string | undefined;
}

/** RFC 7628 §3.2.2. */
export const oauthbearer = <R>(verifier: Verifier<R>): Mechanism<R> =>
  tokenMechanism(verifier, parseOauthBearer, '{"status":"invalid_token"}');

/** The error is what Google's servers send, for clients that look into it. */
export const xoauth2 = <R>(verifier: Verifier<R>): Mechanism<R> =>
  tokenMechanism(verifier, parseXoauth2, '{"status":"401","schemes":"bearer","scope":"mail"}');

function tokenMechanism<R>(
  verifier: Verifier<R>,
  parse: (text: string) => TokenClaim | "unsupported" | undefined,
  failure: string,
): Mechanism<R> {
  const message: Step<R> = async (data) => {
    const text = data && textOf(data, messageOctetsMax);
    const claim = text === undefined ? undefined : parse(text);
    if (claim === undefined) return malformed;
    if (claim === "unsupported") return done(verifier.denied);
    const { authorizationId, token } = claim;
    const result =
      token === undefined ? verifier.denied : await verifier.token({ authorizationId, token });
    // RFC 7628 §3.2.3: the client answers the error with a dummy; then the exchange fails.
    return verifier.outcome(result) === "denied"
      ? challenge<R>(failure, () => done(result))
      : done(result);
  };
  return mechanism((data) => (data === undefined ? challenge("", message) : message(data)));
}

/** RFC 7628 §3.1: `gs2-header kvsep *(key "=" value kvsep) kvsep`. */
function parseOauthBearer(text: string): TokenClaim | "unsupported" | undefined {
  const gs2 = parseGs2(text);
  if (!gs2 || Buffer.byteLength(gs2.authorizationId) > nameOctetsMax) return undefined;
  if (!gs2.rest.startsWith("\x01")) return undefined;
  const values = parsePairs(gs2.rest.slice(1));
  if (!values) return undefined;
  if (gs2.binding === "p") return "unsupported";
  return { authorizationId: gs2.authorizationId, token: tokenIn(values) };
}

/** `user=` name ^A `auth=Bearer ` token ^A ^A. */
function parseXoauth2(text: string): TokenClaim | undefined {
  const values = parsePairs(text);
  const user = values?.get("user");
  if (!values || !user || Buffer.byteLength(user) > nameOctetsMax) return undefined;
  return { authorizationId: user, token: tokenIn(values) };
}

/** Pairs that each end in ^A, and one more ^A. No key twice: which one would count? */
function parsePairs(text: string): ReadonlyMap<string, string> | undefined {
  const parts = text.split("\x01");
  if (parts.pop() !== "" || parts.pop() !== "") return undefined;
  const values = new Map<string, string>();
  for (const part of parts) {
    const match = /^([A-Za-z]+)=([\t\n\r\x20-\x7e\u0080-\u{10ffff}]*)$/u.exec(part);
    const [, key = "", value = ""] = match ?? [];
    if (match === null || values.has(key)) return undefined;
    values.set(key, value);
  }
  return values;
}

const tokenIn = (values: ReadonlyMap<string, string>): string | undefined =>
  bearer.exec(values.get("auth") ?? "")?.[1];
