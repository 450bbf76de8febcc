import {
  challenge,
  done,
  malformed,
  type Mechanism,
  mechanism,
  nameOctetsMax,
  passwordOctetsMax,
  type Step,
  textOf,
  type Verifier,
} from "./mechanism.js";

/** PLAIN, RFC 4616 §2: `[authzid] NUL authcid NUL passwd`. */
export function plain<R>(verifier: Verifier<R>): Mechanism<R> {
  const message: Step<R> = async (data) => {
    const claim = data && parsePlain(data);
    return claim ? done(await verifier.password(claim)) : malformed;
  };
  return mechanism((data) => (data === undefined ? challenge("", message) : message(data)));
}

function parsePlain(data: Buffer) {
  const first = data.indexOf(0);
  const second = data.indexOf(0, first + 1);
  if (first < 0 || second < 0) return undefined;
  const authorizationId = first === 0 ? "" : textOf(data.subarray(0, first), nameOctetsMax);
  const username = textOf(data.subarray(first + 1, second), nameOctetsMax);
  const password = textOf(data.subarray(second + 1), passwordOctetsMax);
  if (authorizationId === undefined || username === undefined || password === undefined) {
    return undefined;
  }
  return { authorizationId, username, password };
}

/** LOGIN, draft-murchison-sasl-login-00 §2, with the prompts that clients look for. */
export function login<R>(verifier: Verifier<R>): Mechanism<R> {
  const name: Step<R> = (data) => {
    const username = data && textOf(data, nameOctetsMax);
    if (username === undefined) return malformed;
    return challenge("Password:", async (second) => {
      const password = second && textOf(second, passwordOctetsMax);
      if (password === undefined) return malformed;
      return done(await verifier.password({ authorizationId: "", username, password }));
    });
  };
  return mechanism((data) => (data === undefined ? challenge("Username:", name) : name(data)));
}
