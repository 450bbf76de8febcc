import type { Address, MemberUuid } from "../shared/ids.js";
import { bounds } from "./bounds.js";
import type { Proof } from "./credentials.js";
import type { Hello } from "./frame.js";

/** Who this process is. `ring`: the parameters of its ring, compared for equality. */
export interface MemberIdentity {
  readonly uuid: MemberUuid;
  readonly addr: Address;
  readonly ring: string;
}

/** The member at the other end. */
export interface PeerIdentity {
  readonly uuid: MemberUuid;
  readonly addr: Address;
}

export function helloOf(self: MemberIdentity): Hello {
  const { uuid, addr, ring } = self;
  return { version: bounds.protocolVersion, uuid, addr, ring };
}

export function peerOf(hello: Hello): PeerIdentity {
  return { uuid: hello.uuid as MemberUuid, addr: hello.addr as Address };
}

/**
 * Why `self` does not talk to who sent `hello`, as one line; undefined when it does. `proof`: of
 * the connection that the hello came over.
 */
export function refusal(self: MemberIdentity, hello: Hello, proof: Proof): string | undefined {
  if (hello.version !== bounds.protocolVersion) {
    const ours = bounds.protocolVersion;
    return `${hello.addr} speaks protocol version ${hello.version}, ${self.addr} version ${ours}`;
  }
  if (hello.uuid === "" || hello.addr === "") return "hello without uuid or addr";
  if (!proof.isOf(hello.uuid)) {
    return `${hello.addr} says that it is ${hello.uuid}; its certificate is another member's`;
  }
  if (hello.ring !== self.ring) {
    return `${hello.addr} belongs to the ring "${hello.ring}", ${self.addr} to "${self.ring}"`;
  }
  if (hello.uuid === self.uuid && hello.addr !== self.addr) {
    const cause = "one data directory is a copy of the other";
    return `${hello.addr} has the identity of ${self.addr}: ${cause}`;
  }
  return undefined;
}
