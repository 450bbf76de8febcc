/**
 * How connections are secured: TLS 1.3 always, with certificates of the ring's CA on both ends. Who
 * the other end is, is its certificate's to say; where it is does not matter, so that a member may
 * move to another address.
 *
 * Strangers complete a handshake as well, since they must be able to ask how to get in; the gate
 * (gate.ts) lets them do nothing else.
 */
import type { Socket } from "node:net";
import { createSecureContext, type PeerCertificate, type SecureContext } from "node:tls";
import {
  type CallCredentials,
  ChannelCredentials,
  type ChannelOptions,
  type experimental,
  ServerCredentials,
} from "@grpc/grpc-js";
import { memberUri, type RingCredentials } from "../secrets/index.js";
import { bounds } from "./bounds.js";

/** Whom a caller believes, and what it shows: a member, or somebody who is about to become one. */
export type Trust =
  | { readonly kind: "member"; readonly credentials: RingCredentials }
  /** Shows nothing; the other end must be of this CA. */
  | { readonly kind: "stranger"; readonly caPem: string }
  /** Shows nothing, and believes nothing of what it hears. */
  | { readonly kind: "anyone" };

/** Of no meaning to us, but TLS libraries want one, and an IP address is none (RFC 6066 §3). */
export const serverName = "member.ringpost";

export function channelCredentials(trust: Trust): ChannelCredentials {
  const inner = ChannelCredentials.createFromSecureContext(contextOf(trust), {
    // Who it is, is compared with its hello when that comes.
    checkServerIdentity: () => undefined,
    rejectUnauthorized: trust.kind !== "anyone",
  });
  return new RingChannelCredentials(inner);
}

/** Making one costs a millisecond, and a link makes a connection again and again. */
const contexts = new WeakMap<RingCredentials, SecureContext>();

function contextOf(trust: Trust): SecureContext {
  const minVersion = "TLSv1.3";
  if (trust.kind === "anyone") return createSecureContext({ minVersion });
  if (trust.kind === "stranger") return createSecureContext({ ca: trust.caPem, minVersion });
  const { credentials } = trust;
  const known = contexts.get(credentials);
  if (known !== undefined) return known;
  const { caPem: ca, certPem: cert, keyPem: key } = credentials;
  const made = createSecureContext({ ca, cert, key, minVersion });
  contexts.set(credentials, made);
  return made;
}

/**
 * gRPC's own, but for two things: an attempt that is given up ends its handshake too (it would wait
 * for ever for a member that is frozen), and a certificate of another ring is called by that name.
 */
class RingChannelCredentials extends ChannelCredentials {
  constructor(private readonly inner: ChannelCredentials) {
    super();
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    target: Parameters<ChannelCredentials["_createSecureConnector"]>[0],
    options: ChannelOptions,
    callCredentials?: CallCredentials,
  ): experimental.SecureConnector {
    const connector = this.inner._createSecureConnector(target, options, callCredentials);
    const handshaking = new Set<Socket>();
    let isOver = false;
    return {
      connect: async (socket) => {
        if (isOver) throw new Error("the attempt was given up");
        handshaking.add(socket);
        try {
          return await connector.connect(socket);
        } catch (error) {
          throw isForeign(error) ? new Error("its certificate is not of this ring") : error;
        } finally {
          handshaking.delete(socket);
        }
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => {
        isOver = true;
        for (const socket of handshaking) socket.destroy();
        connector.destroy();
      },
    };
  }
}

const foreignCodes = [
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
  "INVALID_PURPOSE",
];

const isForeign = (error: unknown): boolean =>
  foreignCodes.includes((error as NodeJS.ErrnoException).code ?? "");

class RingServerCredentials extends ServerCredentials {
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

export function serverCredentials(credentials: RingCredentials): ServerCredentials {
  const { caPem: ca, certPem: cert, keyPem: key } = credentials;
  return new RingServerCredentials(
    {
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: bounds.handshakeDeadlineMs,
    },
    { ca, cert, key, minVersion: "TLSv1.3" },
  );
}

/** What gRPC knows of the other end of a connection. */
interface AuthContext {
  /** Only there when it was signed by our CA. */
  readonly sslPeerCertificate?: PeerCertificate | undefined;
}

/** Who the other end has proved to be. */
export interface Proof {
  isOf(uuid: string): boolean;
}

const nobody: Proof = { isOf: () => false };

export function proofOf(context: AuthContext | null): Proof {
  // One URI is all that the CA puts there, so that nothing is to be taken apart.
  const names = context?.sslPeerCertificate?.subjectaltname;
  return names === undefined ? nobody : { isOf: (uuid) => names === `URI:${memberUri(uuid)}` };
}
