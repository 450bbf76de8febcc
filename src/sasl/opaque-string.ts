// RFC 8264 §9.11, §9.12: controls; half a surrogate pair is no character at all.
const disallowed = /[\p{Cc}\p{Cs}]/u;
// RFC 8264 §9.14 and RFC 8265 §4.2.1: any space that is not the ASCII one.
const otherSpaces = /\p{Zs}/gu;

/**
 * A password as it is hashed and compared: PRECIS OpaqueString, RFC 8265 §4.2. It follows the
 * SASLprep that RFC 5802 names, and equals it but for characters with compatibility forms, which
 * it keeps apart. Undefined for what can't be a password: none, or one with control characters.
 * Unassigned code points are let through: the next Unicode's emoji are people's passwords, too.
 */
export function prepareOpaque(text: string): string | undefined {
  const prepared = text.replace(otherSpaces, " ").normalize("NFC");
  return prepared === "" || disallowed.test(prepared) ? undefined : prepared;
}
