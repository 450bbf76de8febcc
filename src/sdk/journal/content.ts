/** Where the octets of a message are: in memory (and in the journal), or in a file of their own. */
export type Content = { readonly octets: Buffer } | { readonly file: string };

/** Not a view of a large buffer that would be kept alive by it. */
export const copyOf = (octets: Buffer): Content => ({ octets: Buffer.from(octets) });
