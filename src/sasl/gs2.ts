/** The GS2 header (RFC 5801 §4) that begins a message of SCRAM and of OAUTHBEARER. */
export interface Gs2Message {
  /** `n`, `y`, or `p`: the client wants channel binding, which is not offered here. */
  readonly binding: "n" | "y" | "p";
  /** "" when absent. */
  readonly authorizationId: string;
  /** The header as sent, with its last comma. */
  readonly header: string;
  /** What follows it. */
  readonly rest: string;
}

export function parseGs2(text: string): Gs2Message | undefined {
  const match = /^(?:([ny])|(p)=[A-Za-z0-9.-]{1,64}),(?:a=([^,]+))?,/.exec(text);
  if (match === null) return undefined;
  const [header, plainFlag, , name] = match;
  const authorizationId = name === undefined ? "" : decodeSaslName(name);
  if (authorizationId === undefined) return undefined;
  const binding = (plainFlag ?? "p") as Gs2Message["binding"];
  return { binding, authorizationId, header, rest: text.slice(header.length) };
}

/** RFC 5801 §4: `=2C` is a comma, `=3D` an equals sign, and nothing else begins with one. */
export function decodeSaslName(name: string): string | undefined {
  if (/=(?!2C|3D)/.test(name)) return undefined;
  return name.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
