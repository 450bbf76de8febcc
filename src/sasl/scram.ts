import { decodeSaslName, type Gs2Message, parseGs2 } from "./gs2.js";
import {
  challenge,
  done,
  malformed,
  type Mechanism,
  mechanism,
  nameOctetsMax,
  type ScramAnswer,
  type Step,
  type StepAnswer,
  textOf,
  type Verifier,
} from "./mechanism.js";
import { isProof, serverSignature } from "./scram-keys.js";

const messageOctetsMax = 4_096;
/** RFC 5802 §7 `printable`: anything visible but a comma. */
const clientFirst = /^n=([^,]+),r=([\x21-\x2b\x2d-\x7e]{1,512})(?:,[A-Za-z]=[^,]+)*$/;
const clientFinal =
  /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]+)*),p=([A-Za-z0-9+/]{43}=)$/;

interface Opening {
  readonly gs2: Gs2Message;
  readonly username: string;
  readonly nonce: string;
}

/**
 * SCRAM-SHA-256 (RFC 5802 §5, RFC 7677) without channel binding. The server's last message goes
 * out as a challenge that the client answers with nothing, as SMTP and POP3 have no place for data
 * beside their "OK" (RFC 4954 §4, RFC 5034 §4).
 *
 * @param makeNonce printable ASCII without commas, never the same twice
 */
export function scram<R>(verifier: Verifier<R>, makeNonce: () => string): Mechanism<R> {
  const first: Step<R> = async (data) => {
    const opening = data && parseFirst(data);
    if (!opening) return malformed;
    const { gs2, username } = opening;
    // RFC 5802 §6: a server without channel binding fails a client that insists on it. One that
    // says `y` believes rightly that this server has none.
    if (gs2.binding === "p") return done(verifier.denied);
    const { authorizationId } = gs2;
    const answer = await verifier.scram({ authorizationId, username });
    if (answer.kind === "done") return done(answer.result);
    const nonce = `${opening.nonce}${makeNonce()}`;
    const { salt, iterations } = answer.verifier;
    const serverFirst = `r=${nonce},s=${salt},i=${iterations}`;
    const messages = `${gs2.rest},${serverFirst}`;
    return challenge(serverFirst, (final) =>
      settle(final, { verifier, answer, gs2, nonce, messages }),
    );
  };
  return mechanism((data) => (data === undefined ? challenge("", first) : first(data)));
}

function parseFirst(data: Buffer): Opening | undefined {
  const text = textOf(data, messageOctetsMax);
  const gs2 = text === undefined ? undefined : parseGs2(text);
  // A mandatory extension (`m=`) comes first, so it does not match: RFC 5802 §5.1 wants a failure.
  const [, name, nonce] = (gs2 && clientFirst.exec(gs2.rest)) ?? [];
  const username = name === undefined ? undefined : decodeSaslName(name);
  if (!gs2 || username === undefined || nonce === undefined) return undefined;
  if (Buffer.byteLength(username) > nameOctetsMax) return undefined;
  return { gs2, username, nonce };
}

interface Pending<R> {
  readonly verifier: Verifier<R>;
  readonly answer: Extract<ScramAnswer<R>, { kind: "verifier" }>;
  readonly gs2: Gs2Message;
  readonly nonce: string;
  /** Client-first without its header, and server-first. */
  readonly messages: string;
}

async function settle<R>(data: Buffer | undefined, pending: Pending<R>): Promise<StepAnswer<R>> {
  const { verifier, answer, gs2, nonce, messages } = pending;
  const text = data && textOf(data, messageOctetsMax);
  const [, withoutProof, binding, returned, proof] = clientFinal.exec(text ?? "") ?? [];
  if (withoutProof === undefined || proof === undefined) return malformed;
  // RFC 5802 §5.1: both have to be what this exchange began with. No password was tried.
  const isOurs = binding === Buffer.from(gs2.header).toString("base64") && returned === nonce;
  if (!isOurs) return done(verifier.denied);
  const authMessage = `${messages},${withoutProof}`;
  const result = await answer.settle(() =>
    isProof(Buffer.from(proof, "base64"), answer.verifier, authMessage),
  );
  if (verifier.outcome(result) !== "granted") return done(result);
  return challenge(`v=${serverSignature(answer.verifier, authMessage)}`, (last) =>
    last?.length === 0 ? done(result) : malformed,
  );
}
