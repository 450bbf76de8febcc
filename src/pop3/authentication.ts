/** How a client proves who it is: mechanisms, exchanges, and where passwords may be shown. */
import type { AuthAnswer, Credentials, SessionInfo } from "./maildrop.js";
import { decodePlain } from "./sasl.js";

/** SASL mechanisms that can be offered, in order of preference (RFC 5034, 5802, 7628, 4616). */
export const saslMechanisms = [
  "SCRAM-SHA-256",
  "OAUTHBEARER",
  "XOAUTH2",
  "PLAIN",
  "LOGIN",
] as const;
export type SaslMechanism = (typeof saslMechanisms)[number];

/** `USER`: the commands USER and PASS. */
export type AuthMethod = "USER" | SaslMechanism;

export type SaslReply =
  /** Sent to the client in base64; its next line goes to `respond`. */
  | { readonly kind: "challenge"; readonly data: Buffer }
  | { readonly kind: "done"; readonly answer: AuthAnswer }
  /** Not what the mechanism says: a syntax error, no try. Ends the exchange. */
  | { readonly kind: "malformed" };

/** One SASL exchange (RFC 4422). The server decodes base64 and knows `*`; nothing else. */
export interface SaslExchange {
  /**
   * `undefined`: no initial response was given; an empty one is an empty Buffer. A throw or a
   * missed deadline is `tempfail`. Not called again after `done` or `malformed`; an exchange that
   * the client cancels or leaves is just not continued.
   */
  respond(data: Buffer | undefined): Promise<SaslReply>;
}

/** Where passwords and tokens may be sent without TLS. */
export type PlainAuth = "loopback" | "always" | "never";

/** True for methods that show the password or token to whoever reads the line. */
export function isPlaintext(method: AuthMethod): boolean {
  return method !== "SCRAM-SHA-256";
}

/** `plainAuth` applied to a connection without TLS. */
export function allowsPlaintext(plainAuth: PlainAuth, session: SessionInfo): boolean {
  if (plainAuth !== "loopback") return plainAuth === "always";
  // Both ends: a local proxy that takes clients from elsewhere has a remote address that is ours.
  return isLoopback(session.remoteAddress) && isLoopback(session.localAddress);
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\.\d+\.\d+\.\d+$/i.test(address);
}

const emptyChallenge: SaslReply = { kind: "challenge", data: Buffer.alloc(0) };

/** PLAIN (RFC 4616) for an application that has no `onSasl`: its `onAuth` checks the password. */
export function plainExchange(
  check: (credentials: Credentials) => Promise<AuthAnswer>,
): SaslExchange {
  return {
    async respond(data) {
      if (data === undefined) return emptyChallenge;
      const plain = decodePlain(data);
      if (plain === undefined) return { kind: "malformed" };
      const { authorizationId, username, password } = plain;
      // RFC 4616 §2: nobody here may act for somebody else.
      const foreign = authorizationId !== "" && authorizationId !== username;
      if (foreign) return { kind: "done", answer: { kind: "denied" } };
      const answer = await check({ method: "PLAIN", username, password });
      if (answer.kind !== "open") return { kind: "done", answer };
      return { kind: "done", answer: { username, ...answer } };
    },
  };
}
