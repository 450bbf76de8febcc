/** Closes a union: the compiler proves that every case is handled, a bug says which was not. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
