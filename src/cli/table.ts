/** Columns of text, each as wide as its widest cell. */
export interface Column {
  readonly title: string;
  readonly align?: "right";
}

export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string[] {
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, at) => {
        const cell = cells[at] ?? "";
        const width = widths[at] ?? 0;
        return align === "right" ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

const fullIdCharsMax = 10;

/** Ids of a small circle in full; of a large one the first 8 hex digits of `bits` bits. */
export function shortId(id: string, bits: number): string {
  if (id.length <= fullIdCharsMax && bits <= 32) return id;
  const digits = Math.ceil(bits / 4);
  const hex = BigInt(id).toString(16).padStart(digits, "0");
  return hex.length > 8 ? `0x${hex.slice(0, 8)}…` : `0x${hex}`;
}

/** A member in running text: by its address, and by its id where that can be read. */
export function nameOf({ id, addr }: { readonly id: string; readonly addr: string }): string {
  return id.length <= fullIdCharsMax ? `${id} (${addr})` : addr;
}
