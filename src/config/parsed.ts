/** A value read from text, or why the text is none. `why` completes the sentence "… must be". */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: string };

export function ok<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function no(why: string): { readonly ok: false; readonly why: string } {
  return { ok: false, why };
}
