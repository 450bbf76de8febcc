/**
 * Text that strangers wrote, made fit for a terminal: nothing in it moves the cursor, changes
 * colours or titles, answers back, or makes letters run the other way.
 */

// C0, DEL, C1; lone surrogates; what ends a line; marks that turn the direction or can't be seen.
const unfit =
  /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** One line: line ends and tabs become a space, the rest of what is unfit is shown by its name. */
export function visibleLine(text: string): string {
  return text.replaceAll(/[\t\r\n]+/g, " ").replaceAll(unfit, named);
}

/** Lines as they are, however they end; tabs become spaces. */
export function visibleLines(text: string): string[] {
  return text
    .split(/\r\n|\n|\r/)
    .map((line) => line.replaceAll("\t", "    ").replaceAll(unfit, named));
}

function named(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  // As terminals have shown them since there are terminals: ^[ for ESC.
  if (code < 0x20 || code === 0x7f) return `^${String.fromCharCode(code ^ 0x40)}`;
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

/** Lines of at most `columns` characters, broken at spaces where there are some. */
export function wrapped(line: string, columns: number): string[] {
  const lines: string[] = [];
  let rest = [...line];
  while (rest.length > columns) {
    const space = rest.lastIndexOf(" ", columns);
    const end = space > 0 ? space : columns;
    lines.push(rest.slice(0, end).join("").trimEnd());
    rest = rest.slice(rest[end] === " " ? end + 1 : end);
  }
  lines.push(rest.join(""));
  return lines;
}
